//! Lesion boxes and masks from a user's table to the answer: what is trained, kept, asked and refused is that of images that were cut by
//! hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dermafuse::data::{LoadOptions, RgbPixels, decode, described, encode_png};
use dermafuse::infer::{Bundle, Note, PatientImage};
use dermafuse::schema::{CaseImage, LesionArea, LesionBox};
use dermafuse::{Device, Model, Patient};
use dermafuse_tests::{device_lock, done, numbers_of, program, refused};
use serde_json::Value;

const CASES: usize = 48;
const SIZE: [usize; 2] = [56, 42];

/// Where the lesion of a case is; `None` for every sixth.
fn lesion(at: usize) -> Option<[usize; 4]> {
    (at % 6 != 5).then(|| [4 + at % 9, 3 + at % 7, 20 + at % 11, 16 + at % 13])
}

/// Skin with a lesion whose colour is the class.
fn photo(at: usize) -> RgbPixels {
    let [width, height] = SIZE;
    let [left, top, wide, high] = lesion(at).unwrap_or([0, 0, width, height]);
    let pixel = |place: usize| {
        let (x, y) = (place % width, place / width);
        let inside = (left..left + wide).contains(&x) && (top..top + high).contains(&y);
        let noise = ((place * 31 + at * 17) % 23) as u8;
        if inside {
            [90 - noise, 40 + 60 * (at % 2) as u8 + noise, 50 + noise]
        } else {
            [200 + noise, 160, 140 + noise]
        }
    };
    RgbPixels::new(width, height, (0..width * height).flat_map(pixel).collect()).unwrap()
}

fn part(pixels: &RgbPixels, [left, top, width, height]: [usize; 4]) -> RgbPixels {
    let rows = pixels.data().chunks_exact(3 * pixels.width()).skip(top).take(height);
    RgbPixels::new(width, height, rows.flat_map(|row| row[3 * left..3 * (left + width)].to_vec()).collect()).unwrap()
}

/// A table with photos, a description, and an experiment; `entry` says what is written of the photos.
fn write_set(folder: &Path, entry: &str, columns: impl Fn(usize) -> (String, RgbPixels)) {
    fs::create_dir_all(folder.join("photos")).unwrap();
    let mut table = String::from("id,patient,file,dx,x,y,w,h,mask\n");
    for at in 0..CASES {
        let (of_box, pixels) = columns(at);
        fs::write(folder.join("photos").join(format!("{at}.png")), encode_png(&pixels)).unwrap();
        table += &format!("c{at},p{},{at}.png,{},{of_box}\n", at / 2, ["NEV", "MEL"][at % 2]);
    }
    fs::write(folder.join("table.csv"), table).unwrap();
    let set = format!(
        "name = \"boxed\"\n[cases]\nfile = \"table.csv\"\nid = \"id\"\npatient = \"patient\"\n[images]\nfolders = [\"photos\"]\n{entry}\n\
         [[tasks]]\nname = \"diagnosis\"\ncolumn = \"dx\"\nclasses = [\"NEV\", \"MEL\"]\n"
    );
    fs::write(folder.join("set.toml"), set).unwrap();
    let experiment = r#"title = "Boxes"
[data.boxed]
kind = "described"
path = "set.toml"
[split]
kind = "drawn"
[method]
weights = "random"
network = { kind = "image_classifier", backbone = "resnet18_quarter", view = "clinical" }
[training]
epochs = 2
batch_size = 8
learning_rate = 1e-3
preprocess = { size = 32, framing = "pad", resampling = "pillow" }
[evaluation]
views = 0
"#;
    fs::write(folder.join("mine.toml"), experiment).unwrap();
}

const BOXED: &str = r#"clinical = { column = "file", box = ["x", "y", "w", "h"] }"#;
const MASKED: &str = "masks = [\"masks\"]\nclinical = { column = \"file\", mask = \"mask\" }";

/// The four columns of a box, and none of a mask.
fn boxed(at: usize) -> (String, RgbPixels) {
    (lesion(at).map_or(",,,,".to_owned(), |[x, y, w, h]| format!("{x},{y},{w},{h},")), photo(at))
}

/// The same set whose photos were cut with a margin of a tenth of the longer side.
fn cut_by_hand(at: usize) -> (String, RgbPixels) {
    let Some([x, y, w, h]) = lesion(at) else { return (",,,,".into(), photo(at)) };
    let more = (w.max(h) as f64 / 10.0).round_ties_even() as usize;
    let (left, top) = (x.saturating_sub(more), y.saturating_sub(more));
    let (right, bottom) = ((x + w + more).min(SIZE[0]), (y + h + more).min(SIZE[1]));
    (",,,,".into(), part(&photo(at), [left, top, right - left, bottom - top]))
}

fn verb(verb: &str, folder: &Path, settings: &[&str]) -> Command {
    let mut command = program("dermafuse");
    command.arg(verb).arg(folder.join("mine.toml"));
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn train(folder: &Path, out: &Path, settings: &[&str]) -> Command {
    let mut command = verb("train", folder, settings);
    command.arg("--out").arg(out);
    command
}

fn same_answers(one: &Path, other: &Path) {
    let read = |folder: &Path| fs::read_to_string(folder.join("predictions.csv")).unwrap();
    assert_eq!(read(one), read(other));
}

#[test]
fn a_training_on_boxes_is_that_on_images_that_were_cut_by_hand() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let [boxes, masks, hand] = ["boxes", "masks", "hand"].map(|name| folder.path().join(name));
    write_set(&boxes, BOXED, boxed);
    write_set(&hand, "clinical = \"file\"", cut_by_hand);
    write_set(&masks, MASKED, |at| (lesion(at).map_or(",,,,".to_owned(), |_| format!(",,,,{at}.png")), photo(at)));
    fs::create_dir_all(masks.join("masks")).unwrap();
    for (at, [left, top, width, height]) in (0..CASES).filter_map(|at| Some((at, lesion(at)?))) {
        // Only two corners are drawn; one of them is the label 1.
        let mut samples = vec![0; 3 * SIZE[0] * SIZE[1]];
        samples[3 * (top * SIZE[0] + left)] = 255;
        samples[3 * ((top + height - 1) * SIZE[0] + left + width - 1) + 2] = 1;
        let mask = encode_png(&RgbPixels::new(SIZE[0], SIZE[1], samples).unwrap());
        fs::write(masks.join("masks").join(format!("{at}.png")), mask).unwrap();
    }
    let runs = [&boxes, &masks, &hand].map(|set| set.join("run"));
    let printed = done(train(&boxes, &runs[0], &[]));
    let note = "Images are cut to the lesion with a margin of 0.1 of its longer side: 40 of 48 images have a lesion box or mask, 8 have none \
                and are taken whole.";
    assert!(printed.contains(note), "{printed}");
    done(train(&masks, &runs[1], &[]));
    let printed = done(train(&hand, &runs[2], &[]));
    assert!(!printed.contains("lesion box"), "{printed}");
    same_answers(&runs[0], &runs[2]);
    same_answers(&runs[1], &runs[2]);
    let models = runs.each_ref().map(|run| Bundle::load(run, &Device::flex()).unwrap());
    assert!(numbers_of(&models[0].network) == numbers_of(&models[2].network));
    assert!(numbers_of(&models[1].network) == numbers_of(&models[2].network));
    let margins = models.each_ref().map(|model| model.description.preprocess.box_margin);
    assert_eq!(margins, [Some(0.1), Some(0.1), None]);

    // The tensors, case by case.
    let sets = [&boxes, &masks, &hand].map(|set| described::load(set.join("set.toml")).unwrap());
    for row in 0..CASES {
        let tensors = [0, 1, 2].map(|of| {
            let inputs = models[of].inputs(&sets[of], row).unwrap();
            inputs[0].clinical.clone().unwrap().into_data().try_to_vec::<f32>().unwrap()
        });
        assert!(tensors[0] == tensors[2] && tensors[1] == tensors[2], "case {row}");
    }

    // Whole images are something else, and that can be asked for.
    let whole = boxes.join("whole");
    let printed = done(train(&boxes, &whole, &["training.preprocess.box_margin=none"]));
    assert!(printed.contains("40 of 48 images have a lesion box or mask, which is not used"), "{printed}");
    assert_eq!(Bundle::load(&whole, &Device::flex()).unwrap().description.preprocess.box_margin, None);
    let answers = |run: &Path| fs::read_to_string(run.join("predictions.csv")).unwrap();
    assert_ne!(answers(&whole), answers(&runs[0]));

    // The model says how it takes images.
    let mut show = program("dermafuse");
    show.arg("show").arg(&runs[0]);
    assert!(done(show).contains("cut to the lesion with a margin of 0.1 of its longer side"));
    asked_for_the_boxes(folder.path(), &boxes, &runs[0], &whole);
}

/// Asks the model about a case in every way; the answer is that of its test.
fn asked_for_the_boxes(folder: &Path, boxes: &Path, run: &Path, whole: &Path) {
    let predictions = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let tested = predictions.lines().skip(1).filter_map(|line| line.split(',').next()?.strip_prefix('c')?.parse().ok());
    let at: usize = tested.clone().find(|at: &usize| lesion(*at).is_some()).unwrap();
    let [x, y, w, h] = lesion(at).unwrap().map(|number| number as u32);
    let file = boxes.join("photos").join(format!("{at}.png"));
    let model = Model::open(run, &Device::flex()).unwrap();
    let probability =
        |patient: &Patient| model.predict(patient).unwrap().task("diagnosis").unwrap().probability("MEL").unwrap();
    let cut = PatientImage::from(file.as_path()).with_lesion(LesionBox::new(x, y, w, h).unwrap());
    let expected = probability(&Patient::new().clinical(cut.clone()));
    let bytes = PatientImage::from(fs::read(&file).unwrap()).with_lesion(LesionBox::new(x, y, w, h).unwrap());
    assert_eq!(probability(&Patient::new().clinical(bytes)), expected);
    let notes = |model: &Model, patient: Patient| model.predict(&patient).unwrap().notes;
    let is_whole = |note: &Note| matches!(note, Note::TakenWhole { .. });
    let is_unused = |note: &Note| matches!(note, Note::BoxNotUsed { .. });
    assert!(!notes(&model, Patient::new().clinical(cut.clone())).iter().any(|note| is_whole(note) || is_unused(note)));
    let bare = Patient::new().clinical(file.as_path());
    assert!(notes(&model, bare.clone()).iter().any(is_whole));
    assert_ne!(probability(&bare), expected);
    let taking_whole = Model::open(whole, &Device::flex()).unwrap();
    assert!(notes(&taking_whole, Patient::new().clinical(cut)).iter().any(is_unused));
    assert!(!notes(&taking_whole, bare).iter().any(|note| is_whole(note) || is_unused(note)));
    let outside = PatientImage::from(file.as_path()).with_lesion(LesionBox::new(x, y, 99, h).unwrap()).named("arm");
    let error = model.predict(&Patient::new().clinical(outside)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("arm: the lesion box {x},{y},99,{h} does not fit: it reaches out")), "{error}");

    // By a table, by the set's description, and alone.
    let of = |output: &str| -> f64 {
        let line = output.lines().find(|line| line.starts_with('{')).unwrap();
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["tasks"]["diagnosis"]["probabilities"]["MEL"].as_f64().unwrap()
    };
    let predict = |arguments: &[&str]| {
        let mut command = program("dermafuse");
        command.arg("predict").arg(run).args(["--format", "jsonl"]).args(arguments);
        command
    };
    let path = file.display().to_string();
    let text_of = format!("{x},{y},{w},{h}");
    let alone = done(predict(&["--clinical", &path, "--clinical-box", &text_of]));
    assert_eq!(of(&alone), expected);
    let table = folder.join("cases.csv");
    let rows = |rows: &str| {
        fs::write(&table, format!("case,clinical,clinical_box\n{rows}")).unwrap();
        predict(&["--table", &table.display().to_string()])
    };
    let both = done(rows(&format!("a,{path},\"{text_of}\"\nb,{path},\n")));
    assert_eq!(of(&both), expected);
    assert!(both.contains("1 of 2 images have a lesion box or mask, 1 have none and are taken whole."), "{both}");
    // A wrong box keeps its own case from an answer, in its place.
    let wrong = done(rows(&format!(
        "a,{path},\"{text_of}\"\nb,{path},\"5 5 -1 2\"\nc,{path},\"0 0 900 900\"\nd,{path},\"1 1 2 2;3 3 4 4\"\n"
    )));
    for words in [
        "cases.csv: line 3, column `clinical_box`: found `5 5 -1 2`, expected a lesion box x,y,width,height in pixels: its width",
        "0,0,900,900 does not fit: it reaches out of the upright image of 56 x 42 pixels",
        "cases.csv: line 4, column `clinical_box`)",
        "cases.csv: line 5, column `clinical_box`: found `1 1 2 2;3 3 4 4`, expected as many as images, 1, with `;` in between",
        "1 of 4 cases answered",
    ] {
        assert!(wrong.replace("\\\"", "\"").contains(words), "{words}\n{wrong}");
    }
    // A mask in a table says the same as its box.
    let masked = |rows: &str| {
        fs::write(&table, format!("case,clinical,clinical_box,clinical_mask\n{rows}")).unwrap();
        done(predict(&["--table", &table.display().to_string()]))
    };
    let mask = folder.join("masks/masks").join(format!("{at}.png")).display().to_string();
    assert_eq!(of(&masked(&format!("a,{path},,{mask}\n"))), expected);
    let both = masked(&format!("a,{path},,{mask}\nb,{path},\"{text_of}\",{mask}\nc,{path},,nowhere.png\n"));
    for words in ["expected nothing for an image that has a box", "nowhere.png", "1 of 3 cases answered"] {
        assert!(both.contains(words), "{words}\n{both}");
    }
    let set = boxes.join("set.toml").display().to_string();
    let described = done(predict(&["--described", &set]));
    let line = described.lines().find(|line| line.contains(&format!("\"c{at}\""))).unwrap();
    assert_eq!(of(line), expected);
    assert!(described.contains("40 of 48 images have a lesion box or mask, 8 have none and are taken whole."));
    let error = refused(predict(&["--clinical", &path, "--clinical-box", "1,2,0,4"]));
    assert!(error.contains("its width must be above 0"), "{error}");
    let error = refused(predict(&["--clinical", &path, "--clinical-box", "1,2,3,4", "--clinical-box", "1,2,3,4"]));
    assert!(error.contains("2 of --clinical-box for 1 of --clinical"), "{error}");

    // A page shows the part that the network saw.
    let page = folder.join("case.html");
    let mut explain = program("dermafuse");
    explain
        .arg("explain")
        .arg(run)
        .arg("--clinical")
        .arg(&file)
        .args(["--clinical-box", &text_of])
        .arg("--out")
        .arg(&page);
    done(explain);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("1 of 1 images have a lesion box or mask."), "the page says what was cut");

    // Shares of a prediction are of these very boxes.
    let loaded = described::load_unlabelled(&set, None, &LoadOptions::default()).unwrap();
    let fingerprint = |change: fn(&mut CaseImage)| {
        let mut set = loaded.clone();
        change(&mut set.cases[0].clinical[0]);
        model.bundle().questions_of(set).fingerprint()
    };
    let moved = |image: &mut CaseImage| *image = image.clone().with_lesion(LesionBox::new(0, 0, 5, 5).unwrap());
    assert_ne!(fingerprint(|_| ()), fingerprint(moved));
}

#[test]
fn a_run_that_goes_on_notices_a_box_that_was_moved() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let (set, run) = (folder.path().join("set"), folder.path().join("run"));
    write_set(&set, BOXED, boxed);
    done(train(&set, &run, &[]));
    let resume = |settings: &[&str]| {
        let mut command = train(&set, &run, settings);
        command.arg("--resume");
        command
    };
    let before = fs::read(run.join("predictions.csv")).unwrap();
    done(resume(&[]));
    assert_eq!(fs::read(run.join("predictions.csv")).unwrap(), before);
    let moved = |at: usize| {
        let columns = move |other: usize| {
            let (of_box, pixels) = boxed(other);
            if other == at { ("1,1,9,9,".into(), pixels) } else { (of_box, pixels) }
        };
        let mut table = String::from("id,patient,file,dx,x,y,w,h,mask\n");
        for at in 0..CASES {
            table += &format!("c{at},p{},{at}.png,{},{}\n", at / 2, ["NEV", "MEL"][at % 2], columns(at).0);
        }
        fs::write(set.join("table.csv"), table).unwrap();
    };
    moved(7);
    let [x, y, w, h] = lesion(7).unwrap();
    let error = refused(resume(&[]));
    assert!(error.contains(&format!("`lesion box of case c7, clinical` was {x},{y},{w},{h}")), "{error}");
    assert!(error.contains("1,1,9,9"), "{error}");
    // One that had none.
    moved(5);
    let error = refused(resume(&[]));
    assert!(error.contains("lesion box of case c5, clinical"), "{error}");
    let error = refused(resume(&["training.preprocess.box_margin=0.2"]));
    assert!(error.contains("box_margin"), "{error}");
}

#[test]
fn features_of_a_frozen_encoder_are_of_the_part_that_was_cut() {
    let _lock = device_lock();
    let folder = tempfile::tempdir().unwrap();
    let [boxes, hand] = ["boxes", "hand"].map(|name| folder.path().join(name));
    write_set(&boxes, BOXED, boxed);
    write_set(&hand, "clinical = \"file\"", cut_by_hand);
    let frozen = |set: &Path| {
        let text = fs::read_to_string(set.join("mine.toml")).unwrap();
        let network = "network = { kind = \"image_classifier\", backbone = \"resnet18_quarter\", view = \"clinical\" }";
        let encoders = "network = { kind = \"frozen_encoders\", backbone = \"resnet18_quarter\", images = [\"clinical\"], metadata = 0 }\n\
                        heads = { components = 8, objective = \"log_loss\", candidates = [{ logistic = { c = 0.01 } }] }";
        assert!(text.contains(network));
        fs::write(set.join("mine.toml"), text.replace(network, encoders)).unwrap();
    };
    frozen(&boxes);
    frozen(&hand);
    let cache = folder.path().join("features");
    let features = format!("machine.features={}", cache.display());
    let (one, other) = (boxes.join("run"), hand.join("run"));
    let printed = done(train(&boxes, &one, &[&features]));
    assert!(printed.contains("48 computed, 0 read"), "{printed}");
    done(train(&hand, &other, &["machine.features=none"]));
    same_answers(&one, &other);
    // Nothing changed; a box; the margin.
    let printed = done(train(&boxes, &boxes.join("again"), &[&features]));
    assert!(printed.contains("0 computed, 48 read"), "{printed}");
    let table = fs::read_to_string(boxes.join("table.csv")).unwrap();
    let [x, y, w, h] = lesion(0).unwrap();
    let line = format!("c0,p0,0.png,NEV,{x},{y},{w},{h},");
    assert!(table.contains(&line));
    fs::write(boxes.join("table.csv"), table.replace(&line, &format!("c0,p0,0.png,NEV,{x},{y},{},{h},", w - 1)))
        .unwrap();
    let printed = done(train(&boxes, &boxes.join("moved"), &[&features]));
    assert!(printed.contains("1 computed, 47 read"), "{printed}");
    let margin = ["training.preprocess.box_margin=0.3", features.as_str()];
    let printed = done(train(&boxes, &boxes.join("wider"), &margin));
    assert!(printed.contains("48 computed, 0 read"), "{printed}");
}

#[test]
fn a_check_names_every_box_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let set: PathBuf = folder.path().join("set");
    write_set(&set, BOXED, boxed);
    let printed = done(verb("check", &set, &[]));
    assert!(
        printed.contains("40 of 48 images have a lesion box or mask, 8 have none and are taken whole."),
        "{printed}"
    );
    let table = fs::read_to_string(set.join("table.csv")).unwrap();
    let [x, y, w, h] = lesion(2).unwrap();
    let line = format!("c2,p1,2.png,NEV,{x},{y},{w},{h},");
    assert!(table.contains(&line));
    let wrong = |of_box: &str| {
        fs::write(set.join("table.csv"), table.replace(&line, &format!("c2,p1,2.png,NEV,{of_box},"))).unwrap();
        refused(verb("check", &set, &[]))
    };
    let error = wrong("30,3,27,9");
    assert!(
        error.contains("2.png: the lesion box 30,3,27,9 does not fit: it reaches out of the upright image of 56 x 42"),
        "{error}"
    );
    assert!(error.contains("table.csv: line 4, column `x`)"), "{error}");
    for (of_box, column, words) in [
        ("-3,3,7,9", "x", "its x must be at least 0"),
        ("3,3,0,9", "w", "its width must be above 0"),
        ("3,3,7,", "h", "a number, as the other columns of the lesion box have"),
    ] {
        let error = wrong(of_box);
        assert!(error.contains(&format!("table.csv: line 4, column `{column}`")) && error.contains(words), "{error}");
    }
    let error = refused(verb("check", &set, &["training.preprocess.box_margin=-1"]));
    assert!(error.contains("training.preprocess: `box_margin` must be from 0 to 10"), "{error}");
}

#[test]
fn an_area_is_kept_when_sets_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    write_set(folder.path(), BOXED, boxed);
    let set = described::load(folder.path().join("set.toml")).unwrap();
    let joined = dermafuse::data::CaseSet::joined("both", &[("one", &set)], &Default::default()).unwrap();
    let areas = |set: &dermafuse::data::CaseSet| -> Vec<Option<LesionArea>> {
        set.cases.iter().map(|case| case.clinical[0].area().cloned()).collect()
    };
    assert_eq!(areas(&joined), areas(&set));
    assert!(areas(&set)[0].is_some() && areas(&set)[5].is_none());
    assert!(decode(&set.cases[0].clinical[0], dermafuse::data::Strictness::Strict).is_ok());
}
