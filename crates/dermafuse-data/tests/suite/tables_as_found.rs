//! Tables as spreadsheets, archives and other programs save them.

use std::path::Path;

use dermafuse_data::{CaseSet, LoadOptions, described, ham10000, isic_2019, pad_ufes_20};
use dermafuse_schema::FieldValue;

use crate::fixture::write;

const HAM: &str = "lesion_id,image_id,dx,dx_type,age,sex,localization
HAM_0,ISIC_1,akiec,histo,80.0,male,back
HAM_0,ISIC_2,akiec,histo,82.5,male,back
HAM_1,ISIC_3,nv,histo,,unknown,lower extremity
";

fn ham(name: &str, text: &str) -> Result<CaseSet, String> {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join(name), text.as_bytes());
    ham10000::load_with(root.path(), &LoadOptions::metadata_only()).map_err(|error| error.to_string())
}

fn each_line(text: &str, change: impl Fn(usize, &str) -> String) -> String {
    text.lines().enumerate().map(|(line, text)| change(line, text)).collect()
}

#[test]
fn a_published_table_is_the_same_however_it_was_saved() {
    let original = ham("HAM10000_metadata.csv", HAM).unwrap();
    let quoted = |text: &str, by: &str| {
        let cell = |cell: &str| match cell.parse::<f64>() {
            Err(_) if !cell.is_empty() => format!("\"{cell}\""),
            _ => cell.to_owned(),
        };
        text.split(',').map(cell).collect::<Vec<_>>().join(by)
    };
    let german = |text: &str| text.replace(".0", "").replace(',', ";").replace("82.5", "82,5");
    for (name, text) in [
        ("HAM10000_metadata.csv", each_line(HAM, |_, text| format!("{}\r\n", german(text)))),
        ("HAM10000_metadata.csv", format!("sep=;\r\n{}", each_line(HAM, |_, text| format!("{};;\r\n", german(text))))),
        (
            "HAM10000_metadata.csv",
            each_line(HAM, |line, text| format!("{text}{}\r\n", if line < 2 { ",," } else { "" })),
        ),
        ("HAM10000_metadata.csv", format!("\u{feff}{}", HAM.replace('\n', "\r"))),
        ("HAM10000_metadata.tab", each_line(HAM, |_, text| format!("{}\n", quoted(text, "\t")))),
        ("HAM10000_metadata.tsv", HAM.replace(',', "\t")),
        ("HAM10000_metadata", HAM.replace(',', "\t")),
    ] {
        assert_eq!(ham(name, &text).unwrap_or_else(|error| panic!("{text}: {error}")), original, "{text}");
    }
    let text =
        ham("HAM10000_metadata.csv", &HAM.replace("back\n", "back,,x\n").replace("localization", "localization,,"));
    let text = text.unwrap_err();
    assert!(text.contains("line 2, column `9 (without a name)`: found `x`"), "{text}");
}

#[test]
fn the_tables_of_other_sets_may_have_tabs_too() {
    let root = tempfile::tempdir().unwrap();
    let tabs = |text: &str| text.replace(',', "\t").into_bytes();
    let metadata = "image,age_approx,anatom_site_general,lesion_id,sex\nI1,150,,,female\nI2,40,,,\n";
    write(&root.path().join("ISIC_2019_Training_Metadata.tab"), &tabs(metadata));
    let truth = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nI1,1,0,0,0,0,0,0,0,0\nI2,0,1.0,0,0,0,0,0,0,0\n";
    write(&root.path().join("ISIC_2019_Training_GroundTruth.tsv"), &tabs(truth));
    // What an archive program leaves is no second table.
    write(&root.path().join("._ISIC_2019_Training_Metadata.csv"), b"x");
    let set = isic_2019::load_with(root.path(), &LoadOptions::metadata_only()).unwrap();
    assert_eq!(set.cases[1].labels, [Some(5)]);
    let note = "1 values of `age_approx` are below 0 or above 120, the first `150` in line 2 of ISIC_2019_Training_Metadata.tab";
    assert!(set.notes[0].starts_with(note), "{:?}", set.notes);
    // Of two forms of one table, the comma's.
    write(&root.path().join("ISIC_2019_Training_Metadata.csv"), metadata.replace("150", "50").as_bytes());
    let set = isic_2019::load_with(root.path(), &LoadOptions::metadata_only()).unwrap();
    assert_eq!(set.cases[0].metadata[0], FieldValue::Number(50.0));
}

const PAD: &str = "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,\
skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,diameter_2,diagnostic,\
itch,grew,hurt,changed,bleed,elevation,img_id,biopsed
PAT_7,30,,,,,8,,,,,,,,ARM,,,NEV,False,False,False,False,False,False,PAT_7_30_1.png,False
PAT_8,30,False,True,BRASIL,NORWAY,61,False,FEMALE,True,False,True,True,3.0,NOSE,0.0,10.5,BCC,\
True,UNK,True,UNK,True,True,PAT_8_30_2.png,True
";

#[test]
fn a_spreadsheet_may_have_saved_truth_values_and_codes_anew() {
    let load = |text: &str| {
        let root = tempfile::tempdir().unwrap();
        write(&root.path().join("metadata.csv"), text.as_bytes());
        pad_ufes_20::load_with(root.path(), &LoadOptions::metadata_only()).map_err(|error| error.to_string())
    };
    let original = load(PAD).unwrap();
    let excel = PAD.replace("True", "TRUE").replace("False", "FALSE").replace("3.0", "3").replace("0.0", "0");
    assert_ne!(excel, PAD);
    assert_eq!(load(&excel).unwrap(), original);
    assert_eq!(load(&excel.replace(',', ";").replace("10.5", "10,5").replace('\n', "\r\n")).unwrap(), original);
    assert_eq!(load(&PAD.replace("True", "true").replace("3.0", "3.00")).unwrap(), original);
    for (from, to) in [("3.0", "7"), ("True,UNK", "yes,UNK"), ("FEMALE", "female")] {
        assert!(load(&PAD.replace(from, to)).unwrap_err().contains("unknown value"), "{to}");
    }
    let twice = PAD.replace("region", "sex").replace("ARM", "MALE").replace("NOSE", "MALE");
    let twice =
        twice.replace("diameter_1", "region").replace("0.0,", ",").replace("diameter_2", "diameter_1,diameter_2");
    let twice = twice.replace(",,NEV", ",,,NEV").replace("10.5,BCC", "10.5,1,BCC");
    let set = load(&twice).unwrap();
    assert!(
        set.notes[0].starts_with("1 rows contradict themselves in `gender` and `sex`, the first in line 3"),
        "{:?}",
        set.notes
    );
}

const SET: &str = r#"name = "isic"
[cases]
file = "train.csv"
id = "image_name"
[[tables]]
name = "patients"
file = "patients.csv"
key = "patient"
references = "patient"
[[tasks]]
name = "diagnosis"
column = "benign_malignant"
classes = ["benign", "malignant"]
[[fields]]
column = "age_approx"
kind = "numeric"
role = "pre_diagnosis"
missing = ["999"]
[[fields]]
column = "site"
kind = "categorical"
categories = "observed"
role = "pre_diagnosis"
[[fields]]
column = "smokes"
kind = "categorical"
categories = ["False", "True"]
role = "pre_diagnosis"
"#;
const CASES: &str = "image_name,patient,sex,age_approx,site,benign_malignant,smokes
a,P1,male,45.0,nan,benign,TRUE
b,P1,male,130,Torso,benign,false
c,P2,female,-1,torso ,malignant,True
d,P2,,999.0,torso,benign,
e,P2,,,,benign,
";
const PATIENTS: &str = "patient,Gender\nP1,M\nP2,male\n";

fn described_set(toml: &str, cases: &str, patients: &str) -> Result<CaseSet, String> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in [("set.toml", toml), ("train.csv", cases), ("patients.csv", patients)] {
        write(&root.path().join(name), text.as_bytes());
    }
    let set = described::load(root.path().join("set.toml"));
    set.map_err(|error| error.to_string().replace(&format!("{}/", root.path().display()), ""))
}

#[test]
fn what_may_be_a_mistake_is_noted_with_the_remedy() {
    let set = described_set(SET, CASES, PATIENTS).unwrap();
    assert_eq!(
        set.notes,
        [
            "2 values of `age_approx` are below 0 or above 120, the first `130` in line 3 of train.csv; they are taken as they \
             are",
            "field `site`: \"Torso\", \"torso\" are taken as 2 categories, and differ in their writing only; if they are one, \
             say so: map = { \"Torso\" = \"torso\" }",
            "field `site`: \"nan\" is taken as a category; if it means that nothing is recorded, say so: missing = [\"nan\"]",
            "1 rows contradict themselves in `sex` and `Gender`, the first in line 4 (`female` and `male`)",
        ]
    );
    let FieldValue::Category(_) = set.cases[0].metadata[1] else { panic!("`nan` is what it was") };
    let smokes: Vec<FieldValue> = set.cases.iter().map(|case| case.metadata[2]).collect();
    use FieldValue::{Category, Missing};
    assert_eq!(smokes, [Category(1), Category(0), Category(1), Missing, Missing]);
    assert_eq!(set.cases[3].metadata[0], Missing, "999.0 is 999");
    // The remedies are what they say.
    let mended = SET.replace(
        "categories = \"observed\"\n",
        "categories = \"observed\"\nmap = { \"Torso\" = \"torso\" }\nmissing = [\"nan\"]\n",
    );
    let set = described_set(&mended, CASES, PATIENTS).unwrap();
    assert_eq!(set.notes.len(), 2, "{:?}", set.notes);
    assert_eq!(set.cases[1].metadata[1], set.cases[2].metadata[1]);
    assert_eq!(set.cases[0].metadata[1], FieldValue::Missing);
}

#[test]
fn a_described_table_may_be_parted_and_written_otherwise() {
    let original = described_set(SET, CASES, PATIENTS).unwrap();
    let semicolons = CASES.replace(',', ";").replace("45.0", "45,0");
    assert_eq!(described_set(SET, &semicolons, &PATIENTS.replace(',', "\t")).unwrap(), original);
    // Keys, columns, classes and categories with accents in one character or two.
    let with =
        |accent: &str, text: &str| text.replace("P1", &format!("P{accent}")).replace("orso", &format!("{accent}rso"));
    let (one, two) = ("\u{fc}", "u\u{308}");
    let composed = described_set(SET, &with(one, CASES), &with(one, PATIENTS)).unwrap();
    assert_eq!(described_set(SET, &with(one, CASES), &with(two, PATIENTS)).unwrap(), composed);
    assert_eq!(described_set(SET, &with(two, CASES), &with(two, PATIENTS)).unwrap(), composed);
    let renamed = |text: &str, accent: &str| {
        text.replace("malignant", &format!("b{accent}s")).replace("site", &format!("s{accent}te"))
    };
    let set = described_set(&renamed(SET, one), &renamed(CASES, two), PATIENTS).unwrap();
    assert_eq!(set, described_set(&renamed(SET, two), &renamed(CASES, one), PATIENTS).unwrap());
    assert_eq!(set.cases[2].labels, [Some(1)]);

    let text =
        described_set(&SET.replace("\"site\"", "\"site;region\""), &CASES.replace("site", "site;region"), PATIENTS)
            .unwrap();
    assert_eq!(text.len(), 5, "the rows tell");
    let text = described_set(SET, &CASES.replace("site", "si;te").replace("TRUE", "TRUE;"), "a,b;c\n1\n").unwrap_err();
    assert!(text.starts_with("patients.csv: the values may be parted by comma or semicolon; put a line"), "{text}");
    assert!(text.ends_with("(asked for in set.toml, line 7)"), "{text}");
}

#[test]
fn what_is_no_file_of_its_kind_is_refused_at_once() {
    let root = tempfile::tempdir().unwrap();
    let error = |path: &Path| described::load(path).unwrap_err().to_string();
    assert!(error(root.path()).contains("a folder, not a regular file"));
    let large = root.path().join("set.toml");
    std::fs::File::create(&large).unwrap().set_len(1 << 40).unwrap();
    assert!(error(&large).contains("the limit is 4194304"));
    let text = described_set(SET, "PK\u{3}\u{4}", PATIENTS).unwrap_err();
    assert!(
        text.starts_with("train.csv: line 1: a workbook (xlsx, ods) or another archive; save the table as"),
        "{text}"
    );
    if cfg!(unix) {
        assert!(error("/dev/zero".as_ref()).contains("a device, not a regular file"));
        let pipe = root.path().join("train.csv");
        if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            std::fs::remove_file(&large).unwrap();
            write(&large, SET.as_bytes());
            write(&root.path().join("patients.csv"), PATIENTS.as_bytes());
            assert!(error(&large).contains("train.csv: a pipe, not a regular file"));
        }
    }
}
