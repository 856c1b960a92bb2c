//! Images of an experiment that look alike: the search, and a page that shows them side by side.

use std::panic::resume_unwind;
use std::sync::mpsc::channel;
use std::thread;

use dermafuse_data::{AlikeImage, CaseParts, CaseSet, LabelPair, NearDuplicate, NearDuplicates};
use dermafuse_eval::{PictureSection, PictureStrip, Report};

use crate::thumbnail::thumbnail;
use crate::{Plan, Progress, RecipeError};

/// Pairs that a section shows; the others are counted.
const MOST_SHOWN: usize = 200;

impl Plan {
    /// Looks for images that look alike among all cases of the set that is tested, and says in which parts they are: of one round
    /// those of its split, of several the rounds that test them. See [`NearDuplicates::of`].
    ///
    /// # Errors
    /// A distance that is too large; an image that cannot be read.
    pub fn near_duplicates(&self, distance: u32, progress: &mut dyn Progress) -> Result<NearDuplicates, RecipeError> {
        let counted = |round: usize| self.rounds[round].stages.last().expect("a round has a training");
        let set = &counted(0).set;
        let parts = match &self.rounds[..] {
            [_] => CaseParts::of_split(&counted(0).split, set.len()),
            rounds => {
                let tested =
                    rounds.iter().enumerate().map(|(at, round)| (round.name.as_str(), &counted(at).split.test));
                CaseParts::of_rows(tested, set.len())
            }
        };
        let threads = self.experiment.machine.threads;
        let (sender, done) = channel();
        let found = thread::scope(|scope| {
            let look = move || {
                NearDuplicates::of(set, &parts, distance, threads, |done, total| {
                    // Whoever does not listen any more is not told.
                    let _ = sender.send((done, total));
                })
            };
            let looking = scope.spawn(look);
            for (done, total) in done {
                progress.looked_at(done, total);
            }
            looking.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        Ok(found)
    }
}

/// A page that shows near-duplicates side by side: first those under two labels, then those of two parts, then those of two groups. A pair
/// is shown once, where it matters most. Only the images of the pairs that are shown are read.
#[must_use]
pub fn near_duplicate_page(set: &CaseSet, found: &NearDuplicates) -> Report {
    let mut report = Report::new(format!("Images of {} that look alike", set.name)).synthetic(set.synthetic);
    for sentence in near_duplicate_sentences(found) {
        report = report.note(sentence);
    }
    let is_conflict = NearDuplicate::is_conflict;
    let sections: [(&str, &str, Vec<&NearDuplicate>); 3] = [
        (
            "Under two labels",
            "Correct a label, or drop one of the cases, unless the pictures show two lesions.",
            found.label_conflicts().collect(),
        ),
        (
            "In two parts",
            "What is learnt from the one is asked of the other. Give the cases one group, or drop one.",
            found.between_parts().filter(|pair| !is_conflict(pair)).collect(),
        ),
        (
            "In two groups",
            "Perhaps a patient or lesion that the table does not name, perhaps two lesions that look alike.",
            found.of_other_groups().filter(|pair| !is_conflict(pair) && !pair.crosses_parts()).collect(),
        ),
    ];
    for (title, text, pairs) in sections {
        let more = pairs.len().saturating_sub(MOST_SHOWN);
        let text = if more == 0 { text.to_owned() } else { format!("{text} And {more} more pairs.") };
        let strips = pairs.into_iter().take(MOST_SHOWN).map(strip).collect();
        report = report.pictures(PictureSection { title: title.to_owned(), text, strips });
    }
    report
}

/// What was found, in sentences.
#[must_use]
pub fn near_duplicate_sentences(found: &NearDuplicates) -> Vec<String> {
    let NearDuplicates { images, distance, pairs } = found;
    let pair_count = |count: usize| if count == 1 { "1 pair".to_owned() } else { format!("{count} pairs") };
    let mut sentences = vec![format!(
        "{images} images, of which {} of different cases look alike: their hashes differ in {distance} of 256 bits or fewer.",
        pair_count(pairs.len())
    )];
    let (conflicts, crossing, groups) =
        (found.label_conflicts().count(), found.between_parts().count(), found.of_other_groups().count());
    sentences.push(format!(
        "{} under two labels, {} between parts, {} of different groups (patients, lesions, identical files); a pair can be several \
         of these.",
        pair_count(conflicts),
        pair_count(crossing),
        pair_count(groups)
    ));
    let asked = [("test", "training"), ("validation", "training"), ("test", "validation")];
    for (part, other) in asked {
        match found.cases_alike(part, other) {
            0 => {}
            1 => sentences.push(format!("1 {part} case looks like a {other} case.")),
            cases => sentences.push(format!("{cases} {part} cases look like a {other} case.")),
        }
    }
    sentences
}

fn strip(pair: &NearDuplicate) -> PictureStrip {
    let NearDuplicate { first, second, distance, same_group, labels } = pair;
    let labels = labels.iter().map(|LabelPair { task, first, second }| format!("{task}: {first} and {second}"));
    let mut title = vec![format!("{distance} of 256 bits differ")];
    title.extend(labels);
    title.extend(same_group.then(|| "one group".to_owned()));
    let picture = |AlikeImage { case, modality, path, part }: &AlikeImage| {
        let part = part.as_ref().map_or_else(String::new, |part| format!(", {part}"));
        (thumbnail(path), format!("{case}{part}, {}", modality.name()))
    };
    PictureStrip { title: title.join("; "), pictures: vec![picture(first), picture(second)] }
}
