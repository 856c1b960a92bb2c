//! Cuts each dermoscopic image of a data set to the lesion that its mask shows, so that a network looks at the lesion alone:
//!
//! ```text
//! cargo run --release --example crop_to_lesions -- ph2=PH2 PH2 _lesion cropped
//! dermafuse train … --data ph2=PH2 --set data.ph2.images=cropped
//! ```

use std::error::Error;
use std::fs;
use std::path::Path;

use dermafuse::data::{DataSetKind, LesionMask, Strictness, decode, encode_png, lesion_masks};

/// What is kept around the lesion on each side, as a share of its longer side.
const MARGIN: f64 = 0.1;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, masks, suffix, out] = &arguments[..] else { return Err("give KIND=PATH MASKS SUFFIX OUT".into()) };
    let (kind, folder) = data.split_once('=').ok_or("give the data set as KIND=PATH")?;
    let set = kind.parse::<DataSetKind>()?.load(folder.as_ref())?;
    let out = Path::new(out);
    if out.exists() {
        return Err(format!("{} is there already; give a new folder", out.display()).into());
    }
    let masks = lesion_masks(&set, masks, suffix)?;
    if masks.iter().all(Option::is_none) {
        return Err(format!("no mask ends with `{suffix}`").into());
    }
    fs::create_dir_all(out)?;
    let mut whole = 0;
    for (case, mask) in set.cases.iter().zip(masks) {
        let Some(image) = case.dermoscopic.first() else { continue };
        let mut pixels = decode(image, Strictness::Strict)?;
        match mask {
            Some(mask) => pixels = LesionMask::read(mask)?.crop(&pixels, MARGIN)?,
            None => whole += 1,
        }
        let name = image.path.file_stem().ok_or("an image without a name")?;
        fs::write(out.join(name).with_extension("png"), encode_png(&pixels))?;
    }
    println!("{} images in {}; {whole} of them without a mask, as they are", set.len(), out.display());
    Ok(())
}
