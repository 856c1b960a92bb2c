//! The verbs that need no training, as a user calls them, on small models with random weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::Device;
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{
    CaseSet, DataSetKind, MetadataEncoder, MetadataRoles, Preprocess, RgbPixels, derm7pt, encode_png,
};
use dermafuse::devices::DeviceName;
use dermafuse::ensemble::TwoStage;
use dermafuse::fusion::FusionKind;
use dermafuse::infer::{Bundle, BundleDescription, CardTexts, KnownCases, ModelCard, TrainingSummary};
use dermafuse::networks::{
    FusionNetConfig, ImageClassifierConfig, JointFusionConfig, Modality, Network, NetworkConfig, NetworkKind,
};
use dermafuse::schema::{BranchWeights, Case, Field, FieldRole, FieldValue, FuseSpace, Task, TaskSet};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::Value;
use tempfile::TempDir;

/// Side of the images that the models look at.
const SIDE: usize = 32;

/// The program with these words.
fn dermafuse<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dermafuse")).args(words).output().unwrap()
}

/// The words of a command line, with paths in the places of their names.
fn words<'a>(line: &'a str, paths: &[(&str, &'a Path)]) -> Vec<&'a std::ffi::OsStr> {
    let path = |word: &str| paths.iter().find(|(name, _)| *name == word).map(|(_, path)| path.as_os_str());
    line.split(' ').map(|word| path(word).unwrap_or(word.as_ref())).collect()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a verb that ends well prints.
#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", out(output), errors(output));
    out(output)
}

/// What a verb that cannot do what it was asked says.
#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}{}", out(output), errors(output));
    errors(output)
}

/// Writes a model with random weights, whose branches answer together.
fn write_model(file: &Path, data_set: &str, tasks: &TaskSet, encoder: MetadataEncoder, network: NetworkConfig) {
    let description = BundleDescription {
        data_set: data_set.into(),
        synthetic: true,
        encoder,
        known_cases: KnownCases::new(data_set, ["a".into(), "b".into()], ["c".into()], []),
        card: Some(ModelCard {
            experiment: "A trial".into(),
            texts: CardTexts { licence: Some("CC BY 4.0,\nfor research".into()), ..CardTexts::default() },
            training: Some(TrainingSummary {
                data_set: data_set.into(),
                training_cases: 2,
                selection_cases: 1,
                test_cases: 0,
                epochs: 3,
            }),
            expected: None,
        }),
        ..BundleDescription::new(tasks.clone(), network.clone(), Preprocess::imagenet(SIDE))
    };
    let network = network.init_seeded(5, &Device::flex()).unwrap();
    let weights = network.branches().into_iter().map(|branch| (branch.name, 1.0));
    let two_stage = TwoStage::new(BranchWeights::new(weights).unwrap(), FuseSpace::Logits, None, 1.0).unwrap();
    Bundle::new(description, network, two_stage).save(file).unwrap();
}

/// A model of two classes from the clinical photo, sex and age.
fn record_model(folder: &Path) -> PathBuf {
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["benign", "malignant"])]).unwrap();
    let fields = [
        Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]),
        Field::numeric("age", FieldRole::PreDiagnosis).with_unit("years"),
    ];
    let case = |sex, age| Case { metadata: vec![FieldValue::Category(sex), FieldValue::Number(age)], ..Case::new("1") };
    let encoder = MetadataEncoder::fit(&fields, &[case(0, 40.0), case(1, 60.0)], MetadataRoles::PreDiagnosis).unwrap();
    let fusion: FusionKind = "concat".parse().unwrap();
    let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Clinical);
    let network = NetworkConfig::JointFusion(JointFusionConfig::new(backbone, view, encoder.width(), fusion, vec![2]));
    let file = folder.join("record.safetensors");
    write_model(&file, "a clinic", &tasks, encoder, network);
    file
}

/// A model of a set's tasks from both images.
fn pair_model(folder: &Path, set: &CaseSet) -> PathBuf {
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).unwrap();
    let network = FusionNetConfig::new(BackboneKind::ResNet18Quarter, set.tasks.class_counts());
    let file = folder.join("pair.safetensors");
    write_model(&file, &set.name, &set.tasks, encoder, NetworkConfig::FusionNet(network));
    file
}

/// A photo of stripes.
fn write_photo(file: &Path) {
    let pixels: Vec<u8> = (0..3 * 40 * 36).map(|at| (at * 7 % 251) as u8).collect();
    fs::write(file, encode_png(&RgbPixels::new(40, 36, pixels).unwrap())).unwrap();
}

/// A folder with the model of photo and record, a photo `a.png`, and a file `broken.png` that is none.
fn practice() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = record_model(folder.path());
    write_photo(&folder.path().join("a.png"));
    fs::write(folder.path().join("broken.png"), b"no image").unwrap();
    (folder, model)
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The cells of a line of a CSV without quotes in its cells.
fn cells(line: &str) -> Vec<String> {
    let quoted =
        line.split('"').enumerate().map(|(at, part)| if at % 2 == 1 { part.replace(',', "\0") } else { part.into() });
    let cells = quoted.collect::<String>();
    cells.split(',').map(|cell| cell.replace('\0', ",")).collect()
}

#[test]
fn one_case_is_predicted_from_its_files_and_fields() {
    let (folder, model) = practice();
    let photo = folder.path().join("a.png");
    let paths = [("MODEL", model.as_path()), ("PHOTO", &photo)];
    let output = dermafuse(words("predict MODEL --clinical PHOTO --field sex=male --field age=50", &paths));
    let text = succeeded(&output);
    let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
    let header = [
        "case",
        "basis",
        "status",
        "findings",
        "training_distance",
        "diagnosis",
        "diagnosis:probability",
        "diagnosis=benign",
        "diagnosis=malignant",
    ];
    assert_eq!(lines[0], header);
    assert_eq!((lines.len(), &lines[1][..3]), (2, &["a".to_owned(), "fusion".into(), "ok".into()][..]));
    let number = |at: usize| lines[1][at].parse::<f64>().unwrap();
    assert!((number(7) + number(8) - 1.0).abs() < 1e-9);
    assert_eq!(number(6), number(7).max(number(8)));
    assert_eq!(lines[1][5], if number(7) >= number(8) { "benign" } else { "malignant" });
    // The drawn photo is a small one of nothing in particular, and the model does not know its training cases.
    assert!(lines[1][3].starts_with("the clinical image is too small (its shorter side has "), "{}", lines[1][3]);
    assert_eq!(lines[1][4], "");
    assert!(errors(&output).ends_with("1 of 1 cases answered\n"), "{}", errors(&output));

    // The record counts: another age, another answer.
    let other = dermafuse(words("predict MODEL --clinical PHOTO --field sex=male --field age=80", &paths));
    assert_ne!(succeeded(&other).lines().nth(1), text.lines().nth(1));
}

#[test]
fn a_table_is_predicted_line_by_line_and_wrong_lines_say_why() {
    let (folder, model) = practice();
    let table = folder.path().join("patients.csv");
    let rows = "case,sex,age,clinical,remark\na1,female,40,a.png,x\nb2,robot,41,a.png,x\nc3,male,,broken.png,x\n\
                d4,NA,52,a.png,x\n";
    fs::write(&table, rows).unwrap();
    let paths = [("MODEL", model.as_path()), ("TABLE", &table)];
    let output = dermafuse(words("predict MODEL --table TABLE --missing NA --format jsonl", &paths));
    let cases = json_lines(&succeeded(&output));
    let ids: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a1", "b2", "c3", "d4"]);
    let status = |at: usize| cases[at]["status"].as_str().unwrap();
    assert_eq!((status(0), status(3)), ("ok", "ok"));
    assert!(status(1).contains("line 3, column `sex`: unknown value `robot`; known: female, male"), "{}", status(1));
    assert!(status(2).contains("broken.png"), "{}", status(2));
    assert!(cases[1]["basis"].is_null() && cases[1]["tasks"].as_object().unwrap().is_empty());
    let diagnosis = &cases[0]["tasks"]["diagnosis"];
    let class = diagnosis["class"].as_str().unwrap();
    assert_eq!(diagnosis["probability"], diagnosis["probabilities"][class]);
    let errors = errors(&output);
    for words in ["these columns are not used: remark", "2 of 4 cases could not be answered", "2 of 4 cases answered"] {
        assert!(errors.contains(words), "{words}: {errors}");
    }

    // Photos may lie elsewhere, and answers be written there.
    let (photos, answers) = (folder.path().join("photos"), folder.path().join("answers.csv"));
    fs::create_dir(&photos).unwrap();
    write_photo(&photos.join("a.png"));
    fs::remove_file(folder.path().join("a.png")).unwrap();
    let paths = [("MODEL", model.as_path()), ("TABLE", &table), ("PHOTOS", &photos), ("ANSWERS", &answers)];
    let output = dermafuse(words("predict MODEL --table TABLE --images PHOTOS --out ANSWERS", &paths));
    assert_eq!(succeeded(&output), "");
    let written = fs::read_to_string(&answers).unwrap();
    assert_eq!((written.lines().count(), written.lines().filter(|line| line.contains(",ok,")).count()), (5, 1));
}

/// Shares of a table in folders of their own.
struct Shares {
    folder: TempDir,
    model: PathBuf,
    table: PathBuf,
}

impl Shares {
    fn of(rows: &str) -> Self {
        let (folder, model) = practice();
        let table = folder.path().join("patients.csv");
        fs::write(&table, rows).unwrap();
        Self { folder, model, table }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The share, with more words at the end of the line, in a folder that is called by its number and `suffix`.
    fn answer(&self, shard: &str, suffix: &str, more: &str) -> Output {
        let out = self.at(&format!("{}{suffix}", shard.split('/').next().unwrap()));
        let paths = [("MODEL", self.model.as_path()), ("TABLE", &self.table), ("OUT", &out)];
        dermafuse(words(format!("predict MODEL --table TABLE --shard {shard} --out OUT {more}").trim(), &paths))
    }

    fn merge(&self, folders: &[&str], to: &str) -> Output {
        let folders: Vec<PathBuf> = folders.iter().map(|name| self.at(name)).collect();
        let mut line: Vec<&std::ffi::OsStr> = vec!["merge".as_ref()];
        line.extend(folders.iter().map(|folder| folder.as_os_str()));
        let to = self.at(to);
        line.extend(["--out".as_ref(), to.as_os_str()]);
        dermafuse(line)
    }

    /// What one process prints.
    fn whole(&self, more: &str) -> String {
        let paths = [("MODEL", self.model.as_path()), ("TABLE", &self.table)];
        succeeded(&dermafuse(words(format!("predict MODEL --table TABLE {more}").trim(), &paths)))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap()
    }
}

const SHARED_ROWS: &str = "case,sex,age,clinical\na1,female,40,a.png\nb2,robot,41,a.png\nc3,male,,broken.png\nd4,male,52,a.png\n\
                           e5,female,33,a.png\na1,female,41,a.png\n";

/// Of five shares one has no case, and one none that can be answered; a name that is there twice is refused in both ways alike.
#[test]
fn shares_of_a_table_are_joined_into_what_one_process_says() {
    let shares = Shares::of(SHARED_ROWS);
    for shard in ["1/5", "2/5", "3/5", "4/5"] {
        succeeded(&shares.answer(shard, "", "--part-cases 1"));
    }
    let hole = refused(&shares.merge(&["4", "1", "2", "3"], "hole"));
    assert!(hole.contains("no folder has share 5/5; do what is missing, or give its folder too"), "{hole}");
    assert!(!shares.at("hole").exists());
    let fifth = shares.answer("5/5", "", "--part-cases 1");
    succeeded(&fifth);
    assert!(errors(&fifth).contains("1 of 2 cases answered; share 5/5 is in") && errors(&fifth).contains("(2 parts)"));
    let merged = succeeded(&shares.merge(&["4", "1", "5", "2", "3"], "joined"));
    assert!(merged.starts_with("3 of 6 cases answered; they are in "), "{merged}");
    assert_eq!(shares.read("joined/answers.csv"), shares.whole(""));
    let done: Value = serde_json::from_str(&shares.read("joined/done.json")).unwrap();
    assert_eq!((&done["cases"], &done["answered"], &done["failed"]), (&6.into(), &3.into(), &3.into()));
    assert_eq!(done["work"]["model_sha256"].as_str().unwrap().len(), 64);

    // In other forms.
    for shard in ["1/2", "2/2"] {
        succeeded(&shares.answer(shard, "l", "--format jsonl"));
    }
    succeeded(&shares.merge(&["2l", "1l"], "lines"));
    assert_eq!(shares.read("lines/answers.jsonl"), shares.whole("--format jsonl"));
    let json = refused(&shares.answer("1/2", "j", "--format json"));
    assert!(json.contains("cannot be joined from parts; answer shares as csv, jsonl or parquet"), "{json}");
    let parquet = shares.answer("1/1", "p", "--format parquet --part-cases 4");
    if cfg!(feature = "parquet") {
        succeeded(&parquet);
        succeeded(&shares.merge(&["1p"], "parquet"));
        for name in ["answers-00001.parquet", "answers-00002.parquet"] {
            assert!(fs::read(shares.at("parquet").join(name)).unwrap().starts_with(b"PAR1"));
        }
        let paths = [("MODEL", shares.model.as_path()), ("TABLE", &shares.table)];
        let printed = refused(&dermafuse(words("predict MODEL --table TABLE --format parquet", &paths)));
        assert!(printed.contains("give a file with --out"), "{printed}");
    } else {
        assert!(refused(&parquet).contains("build it with `--features parquet`"), "{}", errors(&parquet));
        assert!(!shares.at("1p").exists());
    }

    let paths = [("MODEL", shares.model.as_path()), ("TABLE", &shares.table)];
    let nowhere = dermafuse(words("predict MODEL --table TABLE --shard 1/5", &paths));
    assert!(nowhere.status.code() == Some(2) && errors(&nowhere).contains("--out"), "{}", errors(&nowhere));
}

#[test]
fn what_is_done_of_a_share_is_not_done_again_and_shares_of_other_work_do_not_fit() {
    let mut shares = Shares::of(SHARED_ROWS);
    let told = |output: Output| {
        succeeded(&output);
        errors(&output)
    };
    for shard in ["1/2", "2/2"] {
        told(shares.answer(shard, "", "--part-cases 2"));
    }
    let record = shares.read("1/answers-1-of-2.json");
    assert!(told(shares.answer("1/2", "", "--part-cases 2")).contains("(2 parts, all there already"));
    assert_eq!(shares.read("1/answers-1-of-2.json"), record);

    // A worker that was killed between two parts leaves this; what is damaged is done again.
    fs::remove_file(shares.at("1/share-1-of-2.json")).unwrap();
    fs::remove_file(shares.at("1/answers-1-of-2-part-00002.done.json")).unwrap();
    assert!(told(shares.answer("1/2", "", "--part-cases 2")).contains("(2 parts, 1 there already)"));
    fs::write(shares.at("1/answers-1-of-2-part-00001.csv"), "case\n").unwrap();
    let damaged = refused(&shares.merge(&["1", "2"], "damaged"));
    assert!(damaged.contains("part-00001.csv is no part of these answers: it has changed since"), "{damaged}");
    assert!(!shares.at("damaged").exists());
    assert!(told(shares.answer("1/2", "", "--part-cases 2")).contains("(2 parts, 1 there already)"));
    succeeded(&shares.merge(&["1", "2"], "joined"));
    assert_eq!(shares.read("joined/answers.csv"), shares.whole(""));

    // Another model, another value, another number of rows, other parts.
    let mut other = Bundle::load(&shares.model, &Device::flex()).unwrap();
    other.description.card = None;
    let others = shares.at("other.safetensors");
    other.save(&others).unwrap();
    let own = std::mem::replace(&mut shares.model, others);
    told(shares.answer("2/2", "o", ""));
    let mixed = refused(&shares.merge(&["1", "2o"], "mixed"));
    assert!(mixed.contains("are shares of different work") && mixed.contains(", model "), "{mixed}");
    shares.model = own;
    told(shares.answer("2/2", "p", "--part-cases 3"));
    assert!(refused(&shares.merge(&["1", "2p"], "mixed")).contains("in parts of 3"));
    for rows in [SHARED_ROWS.replace("d4,male,52", "d4,male,53"), SHARED_ROWS.replace("e5,female,33,a.png\n", "")] {
        fs::write(&shares.table, rows).unwrap();
        told(shares.answer("2/2", "t", "--part-cases 2"));
        let other = refused(&shares.merge(&["1", "2t"], "mixed"));
        assert!(other.contains("are shares of different work: 2 shares of `the table patients.csv"), "{other}");
    }
    assert!(!shares.at("mixed").exists());
}

/// Images of a folder, which are in memory, are shared as rows of a table are.
#[test]
fn shares_of_a_folder_are_joined_too() {
    let (folder, model) = practice();
    let at = |name: &str| folder.path().join(name);
    let photos = at("photos");
    fs::create_dir(&photos).unwrap();
    (0..7).for_each(|photo| write_photo(&photos.join(format!("{photo}.png"))));
    fs::write(photos.join("7.png"), b"no image").unwrap();
    let (one, two, joined) = (at("one"), at("two"), at("joined"));
    let paths = [("MODEL", model.as_path()), ("PHOTOS", &photos), ("ONE", &one), ("TWO", &two), ("JOINED", &joined)];
    let whole = succeeded(&dermafuse(words("predict MODEL --folder PHOTOS", &paths)));
    for line in ["--shard 1/2 --out ONE", "--shard 2/2 --out TWO"] {
        let line = format!("predict MODEL --folder PHOTOS --part-cases 2 {line}");
        succeeded(&dermafuse(words(&line, &paths)));
    }
    let parts = |folder: &Path| {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".csv") || name.ends_with(".jsonl")).count()
    };
    assert!(parts(&one) > 1 && parts(&two) > 0, "{} {}", parts(&one), parts(&two));
    succeeded(&dermafuse(words("merge TWO ONE --out JOINED", &paths)));
    assert_eq!(fs::read_to_string(joined.join("answers.csv")).unwrap(), whole);

    // Asked again in larger parts and another form, nothing of the first parts is left.
    succeeded(&dermafuse(words("predict MODEL --folder PHOTOS --shard 1/2 --out ONE --format jsonl", &paths)));
    assert_eq!(parts(&one), 1);
}

/// The lesions of a patient are in one share; a name that two patients' lesions have is found when shares are joined.
#[test]
fn shares_follow_patients_where_a_table_names_them() {
    let row = |case: usize| format!("l{case},PAT_{},female,40,a.png\n", case / 3);
    let rows: String = (0..24).map(row).collect();
    let shares = Shares::of(&format!("case,patient,sex,age,clinical\n{rows}"));
    for shard in ["1/2", "2/2"] {
        succeeded(&shares.answer(shard, "", "--part-cases 5"));
    }
    let patients = |share: &str| -> std::collections::BTreeSet<usize> {
        let files = fs::read_dir(shares.at(share)).unwrap().map(|entry| entry.unwrap().path());
        let parts = files.filter(|path| path.extension().is_some_and(|ending| ending == "csv"));
        let lines = parts.map(|path| fs::read_to_string(path).unwrap());
        let cases = lines.flat_map(|text| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>());
        cases.map(|line| line[1..].split(',').next().unwrap().parse::<usize>().unwrap() / 3).collect()
    };
    assert_eq!(patients("1").len() + patients("2").len(), 8);
    assert!(patients("1").is_disjoint(&patients("2")) && !patients("1").is_empty() && !patients("2").is_empty());
    succeeded(&shares.merge(&["1", "2"], "joined"));
    assert_eq!(shares.read("joined/answers.csv"), shares.whole(""));

    let (one, other) = (*patients("1").first().unwrap(), *patients("2").first().unwrap());
    let twice = rows.replace(&format!("l{},", 3 * other), &format!("l{},", 3 * one));
    fs::write(&shares.table, format!("case,patient,sex,age,clinical\n{twice}")).unwrap();
    for shard in ["1/2", "2/2"] {
        succeeded(&shares.answer(shard, "", ""));
    }
    let error = refused(&shares.merge(&["1", "2"], "twice"));
    assert!(error.contains(&format!("case `l{}` is answered twice", 3 * one)), "{error}");
    assert!(!shares.at("twice").exists());
}

#[test]
fn each_image_of_a_folder_is_a_case() {
    let (folder, model) = practice();
    let answers = folder.path().join("answers.json");
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).unwrap();
    write_photo(&photos.join("one.png"));
    write_photo(&photos.join("two.PNG"));
    fs::write(photos.join("wrong.jpg"), b"no image").unwrap();
    fs::write(photos.join("notes.txt"), b"x").unwrap();
    let paths = [("MODEL", model.as_path()), ("PHOTOS", &photos), ("ANSWERS", &answers)];
    let output = dermafuse(words("predict MODEL --folder PHOTOS --format json --out ANSWERS", &paths));
    assert_eq!(succeeded(&output), "");
    let json: Value = serde_json::from_slice(&fs::read(&answers).unwrap()).unwrap();
    let cases = json["cases"].as_array().unwrap();
    let ids: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!((json["format"].as_u64(), ids), (Some(1), vec!["one.png", "two.PNG", "wrong.jpg"]));
    assert_eq!(cases[0]["tasks"], cases[1]["tasks"]);
    assert_ne!(cases[2]["status"], "ok");
    let notes: Vec<&str> = json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    assert!(notes.iter().any(|note| note.contains("passed over files that are no images")), "{notes:?}");

    // Where nothing can be answered, that is an error.
    fs::remove_file(photos.join("one.png")).unwrap();
    fs::remove_file(photos.join("two.PNG")).unwrap();
    let text = refused(&dermafuse(words("predict MODEL --folder PHOTOS", &paths)));
    assert!(text.contains("no case could be answered") && text.contains("wrong.jpg"), "{text}");
}

#[test]
fn what_cannot_be_predicted_is_said_in_the_words_of_the_user() {
    let (folder, model) = practice();
    let (photo, nowhere) = (folder.path().join("a.png"), folder.path().join("nowhere"));
    let paths = [("MODEL", model.as_path()), ("PHOTO", &photo), ("NOWHERE", &nowhere)];
    for (line, expected) in [
        ("predict MODEL --clinical PHOTO --field colour=red", "the model uses no field `colour`; it uses sex, age"),
        ("predict MODEL --clinical PHOTO --field sex=f", "field `sex` is one of female, male, not `f`"),
        ("predict MODEL --clinical PHOTO --field age=old", "field `age` is a number, not `old`"),
        ("predict MODEL --clinical NOWHERE", "nowhere"),
        ("predict NOWHERE --clinical PHOTO", "nowhere"),
        ("predict PHOTO --clinical PHOTO", "a.png"),
        (
            "predict MODEL --clinical PHOTO --device gpu",
            "there is no device `gpu`; the devices are flex (the CPU), wgpu",
        ),
        ("predict MODEL --folder NOWHERE", "nowhere"),
        ("show NOWHERE", "nowhere"),
        ("explain MODEL --clinical PHOTO --task colour", "the model has no task `colour`; it has diagnosis"),
        ("evaluate MODEL --data derm7pt=nowhere", "nowhere"),
    ] {
        let text = refused(&dermafuse(words(line, &paths)));
        assert!(text.starts_with("error: ") && text.contains(expected), "{line}: {text}");
        assert!(!text.contains("::") && !text.contains("Error"), "{line}: {text}");
    }
    // What no verb understands is told from what cannot be done, and the usage is shown.
    for (line, expected) in [
        ("predict MODEL", "--clinical <FILE>|--dermoscopic <FILE>|"),
        ("predict MODEL --clinical PHOTO --folder NOWHERE", "cannot be used with"),
        ("predict MODEL --clinical PHOTO --field sex", "give NAME=VALUE, such as sex=female"),
        (
            "predict MODEL --folder NOWHERE --view side",
            "there is no image `side`; the images are clinical and dermoscopic",
        ),
        ("evaluate MODEL --data derm7pt", "give KIND=PATH, such as derm7pt=release_v0"),
        ("evaluate MODEL --data pad=x", "unknown data set `pad`: use one of class-folders, derm7pt, "),
        ("foretell MODEL", "unrecognized subcommand 'foretell'"),
    ] {
        let output = dermafuse(words(line, &paths));
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{line}: {text}");
        assert!(text.contains(expected), "{line}: {text}");
    }
}

#[test]
fn fields_are_shown_with_the_range_of_the_training_cases() {
    let (_folder, model) = practice();
    let card = succeeded(&dermafuse(words("show MODEL", &[("MODEL", model.as_path())])));
    assert!(card.contains("age: a number of years, 40 to 60 in training\n"), "{card}");
}

#[test]
fn a_drawn_set_is_evaluated_shown_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    let output = dermafuse(words("draw derm7pt DATA --cases 30 --seed 4 --image-size 48x36", &[("DATA", &data)]));
    assert!(succeeded(&output).contains("drawn: 30 cases; they are read with --data derm7pt="), "{}", out(&output));
    let text = refused(&dermafuse(words("draw derm7pt DATA --cases 30", &[("DATA", &data)])));
    assert!(text.contains("give a new or empty folder"), "{text}");

    let set = derm7pt::load(&data).unwrap();
    let model = pair_model(folder.path(), &set);
    let source = format!("derm7pt={}", data.display());
    let evaluate = |more: &str| {
        let line = format!("evaluate MODEL --out RUN --data SOURCE {more}");
        let paths = [("MODEL", model.as_path()), ("RUN", &run), ("SOURCE", Path::new(&source))];
        dermafuse(words(line.trim_end(), &paths))
    };
    let text = succeeded(&evaluate("--part all"));
    assert!(text.contains("P_clinical") && text.contains("AVG ACC"), "{text}");
    let read = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    assert_eq!(read("predictions.csv").lines().count(), 31);
    assert!(read("predictions.csv").starts_with("case,basis,status,diagnosis,diagnosis:truth,"));
    // Each stage has a line for each case and class.
    let classes: usize = set.tasks.class_counts().iter().sum();
    let stages = read("metrics.json");
    let stages = serde_json::from_str::<Value>(&stages).unwrap()["rows"].as_array().unwrap().len();
    assert_eq!(read("stages.csv").lines().count(), 1 + stages * 30 * classes);
    assert!(read("report.html").contains("not a medical device"));
    // An evaluation is repeated in its folder; the published split has parts; JSON is printed as it is written.
    let output = evaluate("--json");
    assert_eq!(succeeded(&output), read("metrics.json"));
    let test = set.split.as_ref().unwrap().test.len();
    assert_eq!(read("predictions.csv").lines().count(), 1 + test);

    let paths = [("MODEL", model.as_path()), ("DATA", &data)];
    let card = succeeded(&dermafuse(words("show MODEL", &paths)));
    for words in [
        "trained on",
        "the model knows nothing of skin",
        "2 trained it, 1 selected it, 0 tested it",
        "diagnosis: ",
        "sex: female, male",
        "clinical, dermoscopic\n",
        "fusion_net of resnet18_quarter and resnet18_quarter, ",
        "32 x 32 pixels, 1 view of each",
        "clinical 0.333, dermoscopic 0.333, fusion 0.333",
        "experiment      A trial\n",
        "training        2 cases of derm7pt-synthetic, 1 to select, 0 to test; 3 epochs\n",
        "licence         CC BY 4.0,\n                for research\n",
    ] {
        assert!(card.contains(words), "{words} is not in\n{card}");
    }
    let json: Value = serde_json::from_str(&succeeded(&dermafuse(words("show MODEL --json", &paths)))).unwrap();
    assert_eq!(json["bytes"].as_u64().unwrap(), fs::metadata(&model).unwrap().len());
    assert_eq!(json["tasks"].as_array().unwrap().len(), set.tasks.len());
    assert_eq!(json["network"]["kind"], "fusion_net");
    assert_eq!(json["known_cases"]["training"], 2);
    assert_eq!(json["card"]["texts"]["licence"], "CC BY 4.0,\nfor research");
    assert_eq!(json["card"]["training"]["epochs"], 3);

    // The model looks at both images: which are these?
    let text = refused(&dermafuse(words("predict MODEL --folder DATA", &paths)));
    assert!(text.contains("say with --view which the folder has"), "{text}");

    let case = &set.cases[0];
    let (clinical, dermoscopic) = (case.clinical[0].path.as_path(), case.dermoscopic[0].path.as_path());
    let page = folder.path().join("case.html");
    let paths = [("MODEL", model.as_path()), ("CLINICAL", clinical), ("DERMOSCOPIC", dermoscopic), ("PAGE", &page)];
    let line = "explain MODEL --clinical CLINICAL --dermoscopic DERMOSCOPIC --field sex=female --out PAGE --stage 1";
    let text = succeeded(&dermafuse(words(line, &paths)));
    assert!(text.contains(" DIAG  ") && text.contains("seven-point score"), "{text}");
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("Grad-CAM of stage 1").count(), 2);
}

#[test]
fn a_model_is_evaluated_on_corrupted_images() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (folder.path().join("data"), folder.path().join("run"));
    succeeded(&dermafuse(words("draw derm7pt DATA --cases 20 --seed 4 --image-size 48x36", &[("DATA", &data)])));
    let set = derm7pt::load(&data).unwrap();
    let model = pair_model(folder.path(), &set);
    let source = format!("derm7pt={}", data.display());
    let evaluate = |more: &str| {
        let line = format!("evaluate MODEL --out RUN --data SOURCE --part all {more}");
        let paths = [("MODEL", model.as_path()), ("RUN", &run), ("SOURCE", Path::new(&source))];
        dermafuse(words(line.trim_end(), &paths))
    };
    let text = succeeded(&evaluate("--corruptions gaussian_noise,hair --severities 1,5"));
    for words in ["P_clinical", "gaussian_noise", "hair", "mean", "on clean images", ", corruptions.csv"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let read = |name: &str| fs::read_to_string(run.join(name)).unwrap();
    let metrics: Value = serde_json::from_str(&read("metrics.json")).unwrap();
    let found = &metrics["corruptions"];
    // The clean numbers are those of the last stage, and the error is the mean of the means.
    assert_eq!(found["clean"], metrics["rows"].as_array().unwrap().last().unwrap()["evaluation"]);
    let accuracy_of = |at: usize| found["corrupted"][at]["evaluation"]["overall"]["accuracy"].as_f64().unwrap();
    assert_eq!(found["corrupted"].as_array().unwrap().len(), 4);
    assert_eq!((&found["corrupted"][3]["corruption"], &found["corrupted"][3]["severity"]), (&"hair".into(), &5.into()));
    let mean = (0..4).map(|at| 1.0 - accuracy_of(at)).sum::<f64>() / 4.0;
    assert!((found["mean_corruption_error"].as_f64().unwrap() - mean).abs() < 1e-12, "{found}");
    let melanoma_related = &found["clean"]["melanoma_related"];
    assert!(melanoma_related["sensitivity"].is_number(), "{melanoma_related}");
    let csv = read("corruptions.csv");
    assert_eq!(csv.lines().count(), 1 + 5 * (set.tasks.len() + 1));
    let html = read("report.html");
    assert!(
        html.contains("AVG ACC under noise, per cent") && html.contains("Means over the melanoma-related findings")
    );
    assert_eq!((html.matches("<image ").count(), html.matches("severity 5</text>").count()), (2 * 2 * 3, 2));

    // The same again is the same; another seed, and only one of the images, are something else.
    let kept = read("metrics.json");
    succeeded(&evaluate("--corruptions gaussian_noise,hair --severities 1,5"));
    assert_eq!(read("metrics.json"), kept);
    succeeded(&evaluate("--corruptions gaussian_noise,hair --severities 1,5 --corruption-seed 1"));
    assert_ne!(read("metrics.json"), kept);
    succeeded(&evaluate("--corruptions gaussian_noise,hair --severities 1,5 --corrupt-only clinical"));
    assert_ne!(read("metrics.json"), kept);
    assert_eq!(read("report.html").matches("<image ").count(), 2 * 3);
    // An evaluation without corruptions leaves none of an earlier one.
    succeeded(&evaluate(""));
    assert!(!run.join("corruptions.csv").exists() && !read("metrics.json").contains("corruptions"));

    let named = |more: &str| {
        let output = evaluate(more);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        errors(&output)
    };
    let text = named("--corruptions rain");
    assert!(text.contains("unknown corruption `rain`: use one of gaussian_noise, shot_noise, "), "{text}");
    assert!(named("--corruptions hair --severities 6").contains("6 is not a whole number from 1 to 5"));
    assert!(named("--severities 1").contains("--corruptions"));
    assert!(refused(&evaluate("--corruptions hair,hair")).contains("hair twice is not one that names each once"));
}

#[test]
fn a_set_with_other_classes_is_evaluated_through_a_class_map() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run, map) = (folder.path().join("data"), folder.path().join("run"), folder.path().join("map.toml"));
    succeeded(&dermafuse(words("draw dermofit DATA --cases 80 --image-size 24x24", &[("DATA", &data)])));
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["malignant", "scar", "benign"])]).unwrap();
    let model = folder.path().join("model.safetensors");
    let network = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![3]);
    write_model(&model, "a clinic", &tasks, MetadataEncoder::none(), NetworkConfig::ImageClassifier(network));
    let source = format!("dermofit={}", data.display());
    let paths = [("MODEL", model.as_path()), ("RUN", &run), ("MAP", &map), ("SOURCE", Path::new(&source))];
    let line = "evaluate MODEL --data SOURCE --out RUN --part all";
    let text = refused(&dermafuse(words(line, &paths)));
    assert!(text.contains("the model has no class `AK`; it has malignant, scar, benign; map the classes"), "{text}");

    let text = r#"
        name = "two-kinds"
        [[classes]]
        name = "benign"
        from.theirs = ["ML", "SK", "DF", "VASC", "PYO"]
        [[classes]]
        name = "malignant"
        from.theirs = ["MEL", "BCC", "SCC"]
        [drop]
        theirs = ["AK", "IEC"]
    "#;
    fs::write(&map, text).unwrap();
    let line = format!("{line} --class-map MAP");
    let output = dermafuse(words(&line, &paths));
    succeeded(&output);
    let set = DataSetKind::Dermofit.load(&data).unwrap();
    let dropped = |class: &str| {
        let label = set.tasks[0].index_of(class);
        set.cases.iter().filter(|case| case.labels[0] == label).count()
    };
    let (kept, keratoses) = (set.len() - dropped("AK") - dropped("IEC"), dropped("AK"));
    assert_eq!(fs::read_to_string(run.join("predictions.csv")).unwrap().lines().count(), 1 + kept);
    let notes = errors(&output);
    assert!(notes.contains(&format!("theirs: {keratoses} cases of `AK` are dropped")), "{notes}");
    assert!(notes.contains("The set has no class scar of task `diagnosis`"), "{notes}");

    // The model knows three classes, the map two of which one is two of the model's. The run lies beside its own metrics.
    let sums = text.replace("from.theirs = [\"ML\"", "model = [\"scar\", \"benign\"]\n        from.theirs = [\"ML\"");
    let sums =
        sums.replace("[\"MEL\", \"BCC\", \"SCC\"]", "[\"MEL\", \"BCC\", \"SCC\"]\n        model = [\"malignant\"]");
    let answers = |run: &Path| {
        let text = fs::read_to_string(run.join("predictions.csv")).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect::<Vec<Vec<String>>>()
    };
    let fine = answers(&run);
    fs::copy(run.join("metrics.json"), folder.path().join("metrics.json")).unwrap();
    fs::write(&map, &sums).unwrap();
    let output = dermafuse(words(&line, &paths));
    let printed = succeeded(&output);
    assert!(printed.contains(&format!("On the {kept} test cases of its own run (")), "{printed}");
    assert!(printed.contains(&format!("not of their sums.\nOn these {kept} cases: accuracy ")), "{printed}");
    let coarse = answers(&run);
    assert_eq!(coarse[0][6..], ["diagnosis=benign", "diagnosis=malignant"]);
    assert_eq!(fine[0][6..], ["diagnosis=malignant", "diagnosis=scar", "diagnosis=benign"]);
    for (fine, coarse) in fine.iter().zip(&coarse).skip(1) {
        let number = |text: &String| text.parse::<f64>().unwrap();
        assert_eq!((&fine[0], &fine[4]), (&coarse[0], &coarse[4]), "case and truth");
        assert!((number(&fine[7]) + number(&fine[8]) - number(&coarse[6])).abs() < 1e-12);
        assert_eq!(coarse[3], if number(&coarse[6]) >= number(&coarse[7]) { "benign" } else { "malignant" });
    }
    fs::write(&map, sums.replace("\"scar\", ", "")).unwrap();
    let text = refused(&dermafuse(words(&line, &paths)));
    assert!(text.contains("`scar` is not part of a sum, as every class of the model has to be"), "{text}");
    fs::write(&map, sums.replace("\"scar\", ", "\"wart\", ")).unwrap();
    let text = refused(&dermafuse(words(&line, &paths)));
    assert!(text.contains("map.toml") && text.contains("a class of the model: malignant, scar, benign"), "{text}");

    let line = format!("evaluate MODEL --data SOURCE --data edra={} --out RUN", data.display());
    let text = refused(&dermafuse(words(&line, &paths)));
    assert!(text.contains("say with --class-map which of their classes are which"), "{text}");
}

#[test]
fn lists_are_complete_in_both_forms() {
    let table = succeeded(&dermafuse(["datasets"]));
    let json: Value = serde_json::from_str(&succeeded(&dermafuse(["datasets", "--json"]))).unwrap();
    assert_eq!(
        (table.lines().count(), json.as_array().unwrap().len()),
        (DataSetKind::ALL.len(), DataSetKind::ALL.len())
    );
    for (line, kind) in table.lines().zip(DataSetKind::ALL) {
        assert!(line.starts_with(kind.name()) && line.ends_with(kind.description()), "{line}");
    }

    let table = succeeded(&dermafuse(["devices"]));
    let json: Value = serde_json::from_str(&succeeded(&dermafuse(["devices", "--json"]))).unwrap();
    let names: Vec<&str> =
        json["devices"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, DeviceName::present().iter().map(DeviceName::to_string).collect::<Vec<_>>());
    let first = table.lines().next().unwrap();
    assert!(first.starts_with("flex ") && first.ends_with(" the CPU") && names[0] == "flex", "{table}");
    for (feature, built) in DeviceName::backends() {
        let list = if built { "built_with" } else { "built_without" };
        assert!(json[list].as_array().unwrap().contains(&feature.into()), "{json}");
        assert_eq!(table.contains(&format!("built without `{feature}`")), !built, "{table}");
    }

    let table = succeeded(&dermafuse(["models"]));
    let json: Value = serde_json::from_str(&succeeded(&dermafuse(["models", "--json"]))).unwrap();
    let backbones = json["backbones"].as_array().unwrap();
    assert_eq!(backbones.len(), BackboneKind::ALL.len());
    for (backbone, kind) in backbones.iter().zip(BackboneKind::ALL) {
        assert_eq!((&backbone["name"], &backbone["parameters"]), (&kind.name().into(), &kind.num_params().into()));
        assert!(table.contains(&format!("\n{} ", kind.name())), "{table}");
    }
    for network in json["networks"].as_array().unwrap() {
        assert!(table.contains(network["name"].as_str().unwrap()), "{table}");
    }
    for fusion in FusionKind::ALL {
        assert!(table.contains(&format!("\n{fusion} ")), "{table}");
    }
    let kinds = json["network_kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), NetworkKind::ALL.len());
    for (listed, kind) in kinds.iter().zip(NetworkKind::ALL) {
        assert_eq!((&listed["name"], &listed["description"]), (&kind.name().into(), &kind.description().into()));
        let line = table.lines().find(|line| line.starts_with(&format!("{kind} ")));
        assert!(line.is_some_and(|line| line.ends_with(kind.description())), "{table}");
    }
}

#[test]
fn every_kind_that_is_drawn_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (kind, least) in [
        ("derm7pt", 24),
        ("pad-ufes-20", 24),
        ("dermai", 13 * 8),
        ("dermofit", 10 * 8),
        ("ph2", 24),
        ("isic-2016", 24),
        ("isic-2017", 24),
        ("isic-2018", 24),
    ] {
        let data = folder.path().join(kind);
        let line = format!("draw {kind} DATA --cases 24 --image-size 16x12");
        let text = succeeded(&dermafuse(words(&line, &[("DATA", &data)])));
        let (read_as, _) = text.trim_end().rsplit_once("--data ").unwrap().1.split_once('=').unwrap();
        let set = read_as.parse::<DataSetKind>().unwrap().load(&data).unwrap();
        assert!(set.synthetic && set.len() >= least, "{kind}: {}", set.len());
        assert!(text.starts_with(&format!("drawn: {} cases;", set.len())), "{text}");
    }
}

#[test]
fn forward_writes_what_a_backbone_makes_of_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    let bytes: Vec<u8> = (0..3 * SIDE * SIDE).flat_map(|at| (at as f32 / 1000.0).to_le_bytes()).collect();
    let images = TensorView::new(Dtype::F32, vec![1, 3, SIDE, SIDE], &bytes).unwrap();
    serialize_to_file([("images", images)], None, &input).unwrap();
    let paths = [("IN", input.as_path()), ("OUT", &output)];
    let line = "forward --backbone resnet18_quarter --classes 7 --input IN --output OUT";
    let text = succeeded(&dermafuse(words(line, &paths)));
    assert!(text.contains("logits    [1, 7]"), "{text}");
    let bytes = fs::read(&output).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(names, ["features", "logits", "stage1", "stage2", "stage3", "stage4"]);
    let line = "forward --backbone resnet18_quarter --fusion mmfa --features 1,2 --input IN --output OUT";
    assert_eq!(dermafuse(words(line, &paths)).status.code(), Some(2));
}

#[test]
#[cfg(not(feature = "download"))]
fn a_verb_that_is_not_built_in_names_its_feature() {
    let text = refused(&dermafuse(["download", "squeezenet1_1"]));
    assert!(text.contains("install it with `cargo install dermafuse-cli --features download`"), "{text}");
}

#[test]
fn a_training_is_asked_for_by_a_file_or_a_recipe() {
    let said = errors(&dermafuse(["train"]));
    assert!(said.contains("<FILE|--recipe <RECIPE>>"), "{said}");
    let both = errors(&dermafuse(["check", "mine.toml", "--recipe", "ammfm"]));
    assert!(both.contains("cannot be used with"), "{both}");
    let listed = succeeded(&dermafuse(["recipes"]));
    assert!(listed.contains("rows: \"C\", \"D\"") && listed.contains("\"C-M, two stages\""), "{listed}");
    let row = refused(&dermafuse(["train", "--recipe", "fusionm4net", "--row", "X"]));
    assert!(row.contains("there is no row `X`; the rows are `C`, `D`, "), "{row}");
    for (setting, said) in [
        ("machine.device=gpu", "machine.device: there is no device `gpu`; the devices are"),
        (r#"machine.device=["flex", "gpu"]"#, "machine.device[2]: there is no device `gpu`; the devices are"),
        ("machine.device=[]", "machine.device: a list of devices has at least one"),
    ] {
        let line = ["check", "--recipe", "fusionm4net", "--data", "derm7pt=nowhere", "--set", setting];
        let device = refused(&dermafuse(line));
        assert!(device.contains(&format!("--set {setting}: {said}")), "{device}");
    }
}

#[test]
fn shells_can_complete_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = succeeded(&dermafuse(["completions", shell]));
        assert!(
            ["predict", "evaluate", "--table"].iter().all(|word| script.contains(word.trim_start_matches('-'))),
            "{shell}"
        );
    }
}

#[test]
fn an_installed_model_has_a_name() {
    let (folder, model) = practice();
    let (store, photo) = (folder.path().join("store"), folder.path().join("a.png"));
    let program = |words: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dermafuse"));
        command.args(words).env("DERMAFUSE_MODELS", &store).current_dir(folder.path()).output().unwrap()
    };
    let paths = [("MODEL", model.as_path()), ("PHOTO", &photo)];
    let run = |line: &str| program(&words(line, &paths));
    assert!(succeeded(&run("models")).starts_with("installed models: none; `dermafuse models add FILE`"));

    // Nothing is installed that is damaged, is another file, or is no model.
    let sum = dermafuse::infer::sha256_hex(&fs::read(&model).unwrap());
    let other = "0".repeat(64);
    let mut bytes = fs::read(&model).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(folder.path().join("bad.safetensors"), bytes).unwrap();
    for (line, expected) in [
        (format!("models add MODEL --sha256 {other}"), format!("its SHA-256 is {sum}, and {other} was asked for")),
        ("models add MODEL --sha256 12".into(), "`12` is no SHA-256".into()),
        ("models add MODEL --name a/b".into(), "a model cannot be called `a/b`".into()),
        ("models add bad.safetensors".into(), "bad.safetensors: damaged: its SHA-256 is".into()),
        ("models add a.png --name photo".into(), "a.png: not a whole safetensors file".into()),
        ("models add nowhere.safetensors".into(), "cannot read nowhere.safetensors".into()),
        ("models remove skin".into(), "there is no model `skin`".into()),
        ("predict skin --clinical PHOTO".into(), "none is installed: `dermafuse models add FILE` installs one".into()),
    ] {
        let text = refused(&run(&line));
        assert!(text.contains(&expected), "{line}: {text}");
    }
    assert!(!store.exists(), "what is refused leaves nothing");

    let text = succeeded(&run(&format!("models add MODEL --sha256 {}", sum.to_uppercase())));
    assert!(text.contains("trained on") && text.contains("CC BY 4.0,"), "{text}");
    assert!(text.contains("installed as `record`"), "{text}");
    let text = refused(&run("models add MODEL"));
    assert!(
        text.contains("called `record` is installed already") && text.contains("dermafuse models remove record"),
        "{text}"
    );
    assert!(succeeded(&run("models add MODEL --name skin-2.1")).contains(&format!("SHA-256 {sum}")));
    assert_eq!(fs::read(store.join("skin-2.1.safetensors")).unwrap(), fs::read(&model).unwrap());

    // By its name it answers as by its path.
    let line = "predict MODEL --clinical PHOTO --field sex=male --field age=50";
    let answer = succeeded(&run(line));
    assert_eq!(succeeded(&run(&line.replace("MODEL", "skin-2.1"))), answer);
    assert!(succeeded(&run("show skin-2.1")).contains("skin-2.1.safetensors"));
    // A folder of cases is not taken for a model, and what could be either is not guessed.
    fs::create_dir(folder.path().join("skin-2.1")).unwrap();
    assert_eq!(succeeded(&run(&line.replace("MODEL", "skin-2.1"))), answer);
    fs::copy(&model, folder.path().join("skin-2.1").join("model.safetensors")).unwrap();
    let text = refused(&run("show skin-2.1"));
    assert!(text.contains("`skin-2.1` is a model here and an installed one"), "{text}");
    assert!(succeeded(&run("show ./skin-2.1")).contains("./skin-2.1/model.safetensors"));

    // A model that is damaged later does not hide the others.
    fs::write(store.join("worn.safetensors"), b"worn").unwrap();
    let text = succeeded(&run("models"));
    assert!(text.contains("\nrecord ") && text.contains(" MB  diagnosis of a clinic\n"), "{text}");
    assert!(text.contains("cannot be used: ") && text.contains("not a whole safetensors file"), "{text}");
    let listed: Value = serde_json::from_str(&succeeded(&run("models --json"))).unwrap();
    let names: Vec<&str> =
        listed["installed"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["record", "skin-2.1", "worn"]);
    assert!(succeeded(&run("models remove skin-2.1")).contains("removed "));
    assert!(refused(&run("models remove skin-2.1")).contains("installed are record, worn"));
    // The photo's model is still where it was.
    assert!(model.is_file());
}

#[test]
fn a_lesion_is_answered_beside_the_other_lesions_of_its_patient() {
    let folder = tempfile::tempdir().unwrap();
    write_photo(&folder.path().join("a.png"));
    let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["benign", "malignant"])]).unwrap();
    let case = |(patient, size): (&str, f64)| Case {
        patient: Some(patient.into()),
        metadata: vec![FieldValue::Number(size)],
        labels: vec![None],
        ..Case::new(format!("{patient} {size}"))
    };
    let mut set = CaseSet {
        name: "a clinic".into(),
        synthetic: true,
        tasks: tasks.clone(),
        fields: vec![Field::numeric("size", FieldRole::PreDiagnosis)],
        cases: [("p", 2.0), ("p", 4.0), ("p", 9.0), ("p", 5.0), ("q", 3.0)].map(case).into(),
        split: None,
        notes: Vec::new(),
    };
    set.add_other_lesions(&["size".to_owned()]).unwrap();
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).unwrap();
    let fusion: FusionKind = "concat".parse().unwrap();
    let (backbone, view) = (BackboneKind::ResNet18Quarter, Modality::Clinical);
    let network = NetworkConfig::JointFusion(JointFusionConfig::new(backbone, view, encoder.width(), fusion, vec![2]));
    let model = folder.path().join("beside.safetensors");
    write_model(&model, "a clinic", &tasks, encoder, network);

    let table = folder.path().join("lesions.csv");
    let answers = |rows: &[&str]| {
        fs::write(&table, rows.join("\n") + "\n").unwrap();
        let output = dermafuse(words(
            "predict MODEL --table TABLE --format jsonl",
            &[("MODEL", model.as_path()), ("TABLE", table.as_path())],
        ));
        let of_case = |case: Value| (case["case"].as_str().unwrap().to_owned(), case["tasks"].to_string());
        let answers: BTreeMap<String, String> = json_lines(&succeeded(&output)).into_iter().map(of_case).collect();
        (answers, errors(&output))
    };
    let head = "case,patient,size,clinical";
    let rows = ["a,p,2,a.png", "b,p,4,a.png", "c,q,2,a.png"];
    let (beside, said) = answers(&[head, rows[0], rows[1], rows[2]]);
    assert!(said.contains("other lesions among these cases (size): 2 of 3 cases have some"), "{said}");
    assert_ne!(beside["a"], beside["c"], "the one has another lesion beside it");
    // Neither the order of the rows nor other patients have a say; other lesions of the patient have.
    assert_eq!(answers(&[head, rows[2], rows[1], rows[0], "d,r,7,a.png"]).0["a"], beside["a"]);
    assert_ne!(answers(&[head, rows[0], "b,p,5,a.png"]).0["a"], beside["a"]);
    // Alone it is as it is of a patient with one lesion.
    let (alone, said) = answers(&["case,size,clinical", "a,2,a.png", "b,4,a.png", "c,2,a.png"]);
    assert!(said.contains("no column `patient` says which lesions are of one patient"), "{said}");
    assert_eq!((&alone["a"], &alone["c"]), (&beside["c"], &beside["c"]));
    let photo = folder.path().join("a.png");
    let line = "predict MODEL --clinical PHOTO --field size=2 --format jsonl";
    let single =
        json_lines(&succeeded(&dermafuse(words(line, &[("MODEL", model.as_path()), ("PHOTO", photo.as_path())]))));
    assert_eq!(single[0]["tasks"].to_string(), beside["c"]);
}
