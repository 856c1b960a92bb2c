//! Boxes and masks that say where in an image the lesion is: from the table to the network's square.

use std::path::Path;
use std::sync::Arc;

use dermafuse_data::{
    BatchLoader, CaseImages, CaseLoader, CaseSet, DataError, Framing, ImageBatch, ImageCache, ImageSource, LoadOptions,
    LoaderConfig, Modality, PatientImage, Preprocess, RgbPixels, Strictness, check_images, decode, described,
    encode_png,
};
use dermafuse_schema::{CaseImage, LesionArea, LesionBox};
use image::ExtendedColorType;

use crate::fixture::{case_set, golden, png, write};
use crate::images::oriented;

/// A description of a table `table.csv` with clinical photos, and what is said of them.
fn description(image: &str) -> String {
    format!(
        "name = \"lesions\"\nmissing = [\"NA\"]\n[cases]\nfile = \"table.csv\"\nid = \"id\"\n[images]\nfolders = [\"photos\"]\n{image}\n\
         [[tasks]]\nname = \"diagnosis\"\ncolumn = \"dx\"\nclasses = [\"NEV\", \"MEL\"]\n"
    )
}

const NUMBERS: &str = r#"clinical = { column = "file", box = ["x", "y", "w", "h"] }"#;
const TEXT: &str = r#"clinical = { column = "file", box = "bbox" }"#;
const MASK: &str = r#"clinical = { column = "file", mask = "mask" }"#;

/// Photos of 20 × 10 pixels with their places as colours.
struct Fixture(tempfile::TempDir);

impl Fixture {
    fn new(image: &str, table: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("set.toml"), description(image).as_bytes());
        write(&folder.path().join("table.csv"), table.as_bytes());
        for (name, level) in [("a.png", 1), ("b.png", 2), ("c.png", 3)] {
            write(&folder.path().join("photos").join(name), &encode_png(&places(20, 10, level)));
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self) -> Result<CaseSet, DataError> {
        described::load(self.path().join("set.toml"))
    }

    /// The error of a load, without the folder.
    fn refused(&self) -> String {
        self.load().unwrap_err().to_string().replace(&self.path().display().to_string(), "F")
    }
}

fn places(width: usize, height: usize, level: u8) -> RgbPixels {
    let data = (0..width * height).flat_map(|at| [(at % width) as u8 * 9, (at / width) as u8 * 20, level]).collect();
    RgbPixels::new(width, height, data).unwrap()
}

/// A mask of 20 × 10 pixels that is white at these places.
fn mask(white: &[(usize, usize)]) -> Vec<u8> {
    let mut samples = vec![0; 200];
    white.iter().for_each(|(x, y)| samples[20 * y + x] = 255);
    png(20, 10, ExtendedColorType::L8, &samples)
}

fn boxed(x: u32, y: u32, width: u32, height: u32) -> LesionBox {
    LesionBox::new(x, y, width, height).unwrap()
}

fn boxes(set: &CaseSet) -> Vec<Option<LesionBox>> {
    let area = |image: &CaseImage| match image.area() {
        Some(LesionArea::Box(lesion)) => Some(*lesion),
        _ => None,
    };
    set.cases.iter().map(|case| area(&case.clinical[0])).collect()
}

fn cutting(margin: f64) -> Preprocess {
    Preprocess { box_margin: Some(margin), ..Preprocess::imagenet(8) }
}

fn load(set: &CaseSet, config: LoaderConfig) -> Vec<ImageBatch> {
    BatchLoader::new(&set.whole(), config).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn four_columns_and_one_say_the_same() {
    let numbers = "id,file,dx,x,y,w,h\n1,a.png,NEV,2,3,10,5\n2,b.png,MEL,,NA,,\n3,c.png,NEV,0.0,1.6,4.4,2.0\n";
    let expected = [Some(boxed(2, 3, 10, 5)), None, Some(boxed(0, 2, 4, 2))];
    assert_eq!(boxes(&Fixture::new(NUMBERS, numbers).load().unwrap()), expected);
    let text = "id,file,dx,bbox\n1,a.png,NEV,\"[2, 3, 10, 5]\"\n2,b.png,MEL,NA\n3,c.png,NEV,\"0.0,1.6,4.4,2.0\"\n";
    assert_eq!(boxes(&Fixture::new(TEXT, text).load().unwrap()), expected);
    let blanks = "id;file;dx;bbox\n1;a.png;NEV;2 3 10 5\n2;b.png;MEL;\n3;c.png;NEV;(0.0, 1.6, 4.4, 2.0)\n";
    assert_eq!(boxes(&Fixture::new(TEXT, blanks).load().unwrap()), expected);
    // A semicolon table may have decimal commas.
    let commas = "id;file;dx;x;y;w;h\n1;a.png;NEV;2;3;10;5\n2;b.png;MEL;;;;\n3;c.png;NEV;0,0;1,6;4,4;2,0\n";
    assert_eq!(boxes(&Fixture::new(NUMBERS, commas).load().unwrap()), expected);
}

#[test]
fn boxes_of_a_table_that_is_joined_and_of_rows_of_their_own() {
    let fixture = Fixture::new(
        "clinical = { column = \"file\", box = [{ table = \"boxes\", column = \"x\" }, { table = \"boxes\", column = \"y\" }, \
         { table = \"boxes\", column = \"w\" }, { table = \"boxes\", column = \"h\" }] }\n[[tables]]\nname = \"boxes\"\nfile = \
         \"boxes.csv\"\nkey = \"image\"\nreferences = \"file\"",
        "id,file,dx\n1,a.png,NEV\n2,b.png,MEL\n",
    );
    write(&fixture.path().join("boxes.csv"), b"image,x,y,w,h\na.png,1,2,3,4\n");
    assert_eq!(boxes(&fixture.load().unwrap()), [Some(boxed(1, 2, 3, 4)), None]);

    // Two lesions of one photo: two looks of one case, or two cases.
    let rows = r#"clinical = { column = "file", where = { kind = "photo" }, box = "bbox" }"#;
    let table =
        "id,kind,file,dx,bbox\n1,photo,a.png,NEV,0 0 5 5\n1,photo,a.png,NEV,5 5 5 5\n2,photo,a.png,MEL,9 9 1 1\n";
    let set = Fixture::new(rows, table).load().unwrap();
    assert_eq!(set.cases.iter().map(|case| case.clinical.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(set.cases[0].group, set.cases[1].group, "a photo is on one side of a split");
    assert!(set.label_conflicts().is_empty(), "two lesions of one photo may differ");
    let twice = Fixture::new(rows, "id,kind,file,dx,bbox\n1,photo,a.png,NEV,0 0 5 5\n1,photo,a.png,NEV,0 0 5 5\n");
    assert!(twice.refused().contains("an image that no other row of the case has named"));
}

#[test]
fn what_is_no_box_is_refused_where_it_is_written() {
    let head = "id,file,dx,x,y,w,h\n1,a.png,NEV,0,0,5,5\n";
    for (row, column, rest) in [
        ("-1,2,3,4", "x", "found `-1`, expected a part of a lesion box x,y,width,height: its x must be at least 0"),
        ("1,-2,3,4", "y", "found `-2`, expected a part of a lesion box x,y,width,height: its y must be at least 0"),
        ("1,2,0,4", "w", "found `0`, expected a part of a lesion box x,y,width,height: its width must be above 0"),
        ("1,2,3,-4", "h", "found `-4`, expected a part of a lesion box x,y,width,height: its height must be above 0"),
        ("1,2,.3,4", "w", "found `.3`, expected a part of a lesion box x,y,width,height: it must have a pixel when"),
        ("1,,3,4", "y", "found ``, expected a number, as the other columns of the lesion box have in this row"),
        (",,,4", "x", "found ``, expected a number, as the other columns of the lesion box have in this row"),
        ("1,NA,3,4", "y", "found `NA`, expected a number, as the other columns of the lesion box have in this row"),
        ("1,two,3,4", "y", "found `two`, expected a finite number or nothing"),
        ("1,nan,3,4", "y", "found `nan`, expected a finite number or nothing"),
        ("1e12,2,3,4", "w", "found `3`, expected a part of a lesion box x,y,width,height: it must end before"),
    ] {
        let text = Fixture::new(NUMBERS, &format!("{head}2,b.png,MEL,{row}\n")).refused();
        assert!(text.starts_with(&format!("F/table.csv: line 3, column `{column}`: {rest}")), "{row}: {text}");
        assert!(text.ends_with("(asked for in F/set.toml, line 8)"), "{text}");
    }
    for (cell, reason) in [
        ("1 2 3", "x,y,width,height in pixels are expected"),
        ("1 2 3 4 5", "x,y,width,height in pixels are expected"),
        ("[1 2 3 4", "x,y,width,height in pixels are expected"),
        ("all", "x,y,width,height in pixels are expected"),
        ("5 5 -2 2", "its width must be above 0"),
    ] {
        let text = Fixture::new(TEXT, &format!("id,file,dx,bbox\n1,a.png,NEV,{cell}\n")).refused();
        let expected = format!(
            "F/table.csv: line 2, column `bbox`: found `{cell}`, expected a lesion box x,y,width,height in pixels: {reason}"
        );
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn what_the_description_cannot_mean_is_refused_in_its_place() {
    let table = "id,file,dx,x,y,w,h\n1,a.png,NEV,0,0,5,5\n";
    let refused = |image: &str| Fixture::new(image, table).refused();
    let two = refused(r#"clinical = { column = "file", box = ["x", "y"] }"#);
    assert!(
        two.starts_with("F/set.toml: line 8, column 37: lesion box `2 columns`: expected one column with"),
        "{two}"
    );
    let absent = refused(r#"clinical = { column = "file", box = ["x", "y", "w", "height"] }"#);
    assert!(absent.starts_with("F/set.toml: line 8, column") && absent.contains("column `height`"), "{absent}");
    let absent = refused(r#"clinical = { column = "file", mask = "m" }"#);
    assert!(absent.contains("column `m`: expected a column of F/table.csv"), "{absent}");
    let unused = refused("masks = [\"masks\"]\nclinical = \"file\"");
    assert!(
        unused.starts_with("F/set.toml: line 8, column 10: folder of masks `masks`: expected a column `mask`"),
        "{unused}"
    );
    let unknown = refused(r#"clinical = { column = "file", bbox = "x" }"#);
    assert!(unknown.contains("bbox"), "{unknown}");
}

#[test]
fn masks_lie_among_the_images_or_in_folders_of_their_own() {
    let table = "id,file,dx,mask\n1,a.png,NEV,a_mask.png\n2,b.png,MEL,\n";
    let among = Fixture::new(MASK, table);
    write(&among.path().join("photos/a_mask.png"), &mask(&[(3, 4)]));
    let set = among.load().unwrap();
    let file = among.path().join("photos/a_mask.png");
    assert_eq!(set.cases[0].clinical[0].area(), Some(&LesionArea::Mask(file)));
    assert_eq!(set.cases[1].clinical[0].area(), None);

    // Of the same name as the image.
    let own = r#"masks = ["masks"]
clinical = { column = "file", mask = "file" }"#;
    let table = "id,file,dx\n1,a.png,NEV\n";
    let beside = Fixture::new(own, table);
    write(&beside.path().join("masks/a.png"), &mask(&[(3, 4)]));
    let set = beside.load().unwrap();
    assert_eq!(set.cases[0].clinical[0].area(), Some(&LesionArea::Mask(beside.path().join("masks/a.png"))));
    // Where the images are looked for elsewhere, the masks' own folder stays.
    write(&beside.path().join("elsewhere/a.png"), &encode_png(&places(20, 10, 9)));
    let options =
        LoadOptions { images: ImageSource::Folder(beside.path().join("elsewhere")), ..LoadOptions::default() };
    let moved = described::load_with(beside.path().join("set.toml"), &options).unwrap();
    assert_eq!(moved.cases[0].clinical[0].path, beside.path().join("elsewhere/a.png"));
    assert_eq!(moved.cases[0].clinical[0].area(), set.cases[0].clinical[0].area());
}

#[test]
fn masks_that_are_not_there_are_counted() {
    let table = "id,file,dx,mask\n1,a.png,NEV,a_mask\n2,b.png,MEL,b_mask\n3,c.png,NEV,\n";
    let fixture = Fixture::new(MASK, table);
    let text = fixture.refused();
    let expected = "F/table.csv: line 2, column `mask`: image `a_mask` is not in F/photos (2 of 2 images are missing)";
    assert!(text.starts_with(expected), "{text}");
    // Cases without labels are answered as far as they can be.
    let set = described::load_unlabelled(fixture.path().join("set.toml"), None, &LoadOptions::default()).unwrap();
    assert_eq!(set.cases[1].clinical[0].area(), Some(&LesionArea::Mask(fixture.path().join("photos/b_mask"))));
    // Nor are both.
    let both = r#"clinical = { column = "file", mask = "mask", box = "bbox" }"#;
    let fixture = Fixture::new(both, "id,file,dx,mask,bbox\n1,a.png,NEV,m.png,\n2,b.png,MEL,m.png,1 1 2 2\n");
    write(&fixture.path().join("photos/m.png"), &mask(&[(3, 4)]));
    let text = fixture.refused();
    assert!(
        text.starts_with(
            "F/table.csv: line 3, column `mask`: found `m.png`, expected nothing where the row has a box too"
        ),
        "{text}"
    );
}

#[test]
fn a_batch_is_that_of_files_that_were_cut_by_hand() {
    let table = "id,file,dx,bbox\n1,a.png,NEV,2 3 10 5\n2,b.png,MEL,\n3,c.png,NEV,\"0 0 4 4\"\n";
    let fixture = Fixture::new(TEXT, table);
    let set = fixture.load().unwrap();
    let mut by_hand = set.clone();
    // With a tenth of the longer side: 1 pixel, and 0 after rounding.
    for (case, part) in by_hand.cases.iter_mut().zip([Some((1, 2, 12, 7)), None, Some((0, 0, 4, 4))]) {
        let image = &mut case.clinical[0];
        image.lesion = None;
        if let Some((left, top, width, height)) = part {
            let pixels = decode(&image.path, Strictness::Strict).unwrap();
            let rows = pixels.data().chunks_exact(60).skip(top).take(height);
            let data = rows.flat_map(|row| row[3 * left..3 * (left + width)].to_vec()).collect();
            let file = fixture.path().join(format!("{}.png", case.id));
            write(&file, &encode_png(&RgbPixels::new(width, height, data).unwrap()));
            image.path = file;
        }
    }
    for framing in [Framing::Squash, Framing::Pad, Framing::Crop] {
        let preprocess = Preprocess { framing, ..cutting(0.1) };
        let expected = load(&by_hand, LoaderConfig::new(2, preprocess.clone()));
        assert_eq!(load(&set, LoaderConfig::new(2, preprocess.clone())), expected, "{framing:?}");
        // As images in memory, and measured.
        let mut images = CaseImages::default();
        images.clinical.push(PatientImage::from(&set.cases[0].clinical[0]));
        let alone = CaseLoader::new(&set, 0, &images, LoaderConfig::new(2, preprocess.clone())).unwrap();
        let planes: Vec<f32> = alone.flat_map(|batch| batch.unwrap().clinical.unwrap()).collect();
        assert_eq!(planes, expected[0].clinical.as_ref().unwrap()[..3 * 64]);
        let measured = load(&set, LoaderConfig { measure: true, ..LoaderConfig::new(2, preprocess.clone()) });
        assert_eq!(measured[0].clinical, expected[0].clinical);
        // What takes images whole is not moved by boxes.
        let whole = Preprocess { box_margin: None, ..preprocess };
        let mut plain = set.clone();
        plain.cases.iter_mut().for_each(|case| case.clinical[0].lesion = None);
        assert_eq!(
            load(&set, LoaderConfig::new(2, whole.clone())),
            load(&plain, LoaderConfig::new(2, whole)),
            "{framing:?}"
        );
    }
}

#[test]
fn a_cache_knows_parts_of_one_photo_apart() {
    let table = "id,file,dx,bbox\n1,a.png,NEV,0 0 5 5\n2,a.png,MEL,5 5 5 5\n3,a.png,NEV,\n4,a.png,NEV,0 0 5 5\n";
    let fixture = Fixture::new(TEXT, table);
    let set = &fixture.load().unwrap();
    let cache = Arc::new(ImageCache::new(usize::MAX));
    let config =
        |margin: f64| LoaderConfig { cache: Some(cache.clone()), threads: 1, ..LoaderConfig::new(4, cutting(margin)) };
    let plain = |margin: f64| load(set, LoaderConfig::new(4, cutting(margin)));
    let image = 3 * 8 * 8;
    for (margin, held) in [(0.0, 3), (0.2, 5), (0.0, 5)] {
        assert_eq!(load(set, config(margin)), plain(margin));
        assert_eq!(load(set, config(margin)), plain(margin));
        assert_eq!(cache.bytes(), held * image, "the whole photo once, each part once for each margin");
    }
    assert_ne!(plain(0.0), plain(0.2));
}

#[test]
fn all_areas_that_do_not_fit_are_found_before_a_long_work() {
    let both = r#"masks = ["masks"]
clinical = { column = "file", box = "bbox", mask = "mask" }"#;
    let table = "id,file,dx,bbox,mask\n1,a.png,NEV,0 0 20 10,\n2,a.png,MEL,0 0 21 10,\n3,b.png,MEL,,small.png\n4,c.png,NEV,,black.png\n\
                 5,c.png,NEV,,good.png\n6,c.png,NEV,3 8 2 3,\n";
    let fixture = Fixture::new(both, table);
    write(&fixture.path().join("masks/small.png"), &png(10, 5, ExtendedColorType::L8, &[255; 50]));
    write(&fixture.path().join("masks/black.png"), &mask(&[]));
    write(&fixture.path().join("masks/good.png"), &mask(&[(19, 9)]));
    let set = fixture.load().unwrap();
    let check = |modalities: &[Modality]| check_images(&set.whole(), modalities, Strictness::Strict, 2, |_, _| ());
    let Err(DataError::BadImages { images, faults }) = check(&[Modality::Clinical]) else { panic!("faults are found") };
    assert_eq!((images, faults.iter().map(|fault| fault.row).collect::<Vec<_>>()), (6, vec![1, 2, 3, 5]));
    let folder = fixture.path().display().to_string();
    let text = |at: usize| faults[at].error.to_string().replace(&folder, "F");
    assert_eq!(
        text(0),
        "F/photos/a.png: the lesion box 0,0,21,10 does not fit: it reaches out of the upright image of 20 x 10 pixels; give \
         x,y,width,height in pixels of this very file (F/table.csv: line 3, column `bbox`)"
    );
    assert!(
        text(1).contains("it has 10 x 5 pixels, and the upright image 20 x 10 (F/table.csv: line 4, column `mask`)")
    );
    assert!(text(2).contains("black.png, which is black, is not") && text(2).ends_with("line 5, column `mask`)"));
    assert!(text(3).contains("3,8,2,3 does not fit"));
    let whole = check(&[Modality::Clinical]).unwrap_err().to_string();
    assert!(
        whole.starts_with("4 of 6 images cannot be read, or have a lesion box or mask that does not fit;"),
        "{whole}"
    );
    assert_eq!(check(&[Modality::Dermoscopic]).unwrap().images, 0);
    // The loader refuses the same, in the same words.
    let error = BatchLoader::new(&set.view(vec![1]).unwrap(), LoaderConfig::new(1, cutting(0.1))).unwrap().next();
    assert_eq!(error.unwrap().unwrap_err().to_string().replace(&folder, "F"), text(0));
}

/// Whether a check finds that a box of this size fits the image.
pub(crate) fn fits(path: &Path, [width, height]: [usize; 2]) -> bool {
    let mut set = case_set(&[(0, Some(0))]);
    set.cases[0].clinical = vec![CaseImage::from(path).with_lesion(boxed(0, 0, width as u32, height as u32))];
    check_images(&set.whole(), &[Modality::Clinical], Strictness::Strict, 1, |_, _| ()).is_ok()
}

#[test]
fn boxes_are_of_the_image_as_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    // Blocks of 16 pixels in the colours A B / C D / E F, turned: `C` is lesion.
    for (turned, place) in (1..=8).zip([(0, 1), (1, 1), (1, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)]) {
        let path = folder.path().join(format!("{turned}.jpg"));
        write(&path, &oriented(turned));
        let shown = decode(&path, Strictness::Strict).unwrap();
        let size = [shown.width(), shown.height()];
        assert_eq!(size, if turned < 5 { [32, 48] } else { [48, 32] });
        assert!(fits(&path, size) && !fits(&path, [size[1], size[0]]), "{turned}");
        let lesion = boxed(16 * place.0 + 4, 16 * place.1 + 4, 8, 8);
        let cut = cutting(0.0).seen(&PatientImage::from(path.as_path()).with_lesion(lesion)).unwrap();
        assert!(cut.data().iter().all(|&level| level.abs_diff(80) < 5), "{turned}: {:?}", cut.data());
    }
    // Also where only the file's own format says how it is turned.
    for name in ["baseline.jpg", "wide.png", "lossy.webp", "lossless.webp", "pages.tif", "palette.png", "cmyk.jpg"] {
        let shown = decode(golden(name), Strictness::Strict).unwrap();
        assert!(fits(&golden(name), [shown.width(), shown.height()]), "{name}");
        assert!(!fits(&golden(name), [shown.width() + 1, shown.height()]), "{name}");
    }
}
