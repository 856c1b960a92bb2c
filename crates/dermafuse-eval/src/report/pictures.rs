use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use super::SampleImage;

/// Rows of pictures under a heading, such as images that look alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureSection {
    /// The heading.
    pub title: String,
    /// What the rows have in common, in a sentence; may be empty.
    pub text: String,
    /// The rows.
    pub strips: Vec<PictureStrip>,
}

/// Pictures side by side. They are embedded as they are: give small ones (some 160 pixels wide).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PictureStrip {
    /// What is said of them together.
    pub title: String,
    /// The pictures, each with what is said under it. Where there is none to be had, the words stand alone.
    pub pictures: Vec<(Option<SampleImage>, String)>,
}

/// The sections, one below the other.
pub(super) fn render(sections: &[PictureSection]) -> Option<Markup> {
    let mut filled = sections.iter().filter(|section| !section.strips.is_empty()).peekable();
    filled.peek()?;
    Some(html! { @for section in filled { (section_of(section)) } })
}

fn section_of(section: &PictureSection) -> Markup {
    html! {
        h3 { (section.title) }
        @if !section.text.is_empty() { p.caption { (section.text) } }
        @for strip in &section.strips {
            div.strip {
                p.quiet { (strip.title) }
                div.pictures { @for (image, words) in &strip.pictures {
                    figure {
                        @match image {
                            Some(image) => img alt=(words) src={ "data:" (image.mime) ";base64," (STANDARD.encode(&image.bytes)) };,
                            None => div.missing { "no image" },
                        }
                        figcaption { (words) }
                    }
                } }
            }
        }
    }
}
