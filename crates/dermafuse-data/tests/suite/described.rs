use std::path::{Path, PathBuf};

use dermafuse_data::{
    ImageSource, LoadOptions, MetadataEncoder, MetadataRoles, SYNTHETIC_MARKER, described, milk10k, pad_ufes_20,
};
use dermafuse_schema::{CaseImage, FieldRole, FieldValue};
use image::ExtendedColorType;

use crate::fixture::{plain_jpeg, png, write};

/// Photos of smartphones: one image and a record a case, as in PAD-UFES-20.
const PAD: &str = r#"name = "photos"
missing = ["NA"]

[cases]
file = "metadata.csv"
id = "img_id"
patient = "patient_id"
lesion = ["patient_id", "lesion_id"]

[images]
folders = ["imgs_part_1", "imgs_part_2"]
clinical = "img_id"

[[tasks]]
name = "diagnosis"
label = "DIAG"
column = "diagnostic"
classes = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"]
map = { "Bowen's disease" = "SCC", "Merkel" = "SCC" }
drop = ["PTERYGIUM"]

[[fields]]
column = "age"
kind = "numeric"
role = "pre_diagnosis"
missing = ["999"]

[[fields]]
column = "gender"
kind = "categorical"
categories = ["FEMALE", "MALE"]
role = "pre_diagnosis"

[[fields]]
name = "father"
column = "background_father"
kind = "categorical"
categories = "observed"
map = { BRASIL = "BRAZIL" }
role = "pre_diagnosis"

[[fields]]
column = "biopsed"
kind = "categorical"
categories = ["False", "True"]
role = "post_diagnosis"
"#;

const PAD_TABLE: &str = "patient_id,lesion_id,age,gender,background_father,diagnostic,img_id,biopsed
PAT_7,30,8,,POMERANIA,NEV,PAT_7_30_1.png,False
PAT_8,30,61,FEMALE,BRASIL,BCC,PAT_8_30_2.png,True
PAT_8,31,NA,FEMALE,BRAZIL,Bowen's disease,PAT_8_31_3,False
PAT_9,32,999,MALE,NA,PTERYGIUM,PAT_9_32_4.png,True
PAT_9,33,55,MALE,,,PAT_9_33_5.png,
";

/// Lesions with two rows, one for each image, and a ground truth with a column for each class, as in MILK10k.
const MILK: &str = r#"name = "pairs"

[cases]
file = "Metadata.csv"
id = "lesion_id"
lesion = "lesion_id"

[[tables]]
name = "truth"
file = "GroundTruth.csv"
key = "lesion_id"

[images]
folders = ["images"]
clinical = { column = "isic_id", where = { image_type = "clinical: close-up" } }
dermoscopic = { column = "isic_id", where = { image_type = "dermoscopic" } }

[[tasks]]
name = "diagnosis"
one_hot = "truth"
classes = ["BCC", "MEL", "NV"]

[[fields]]
column = "age_approx"
kind = "numeric"
role = "pre_diagnosis"

[[fields]]
column = "site"
kind = "categorical"
categories = "observed"
role = "pre_diagnosis"
"#;

const MILK_TABLE: &str = "lesion_id,image_type,isic_id,age_approx,site
IL_1,clinical: close-up,ISIC_1,40.0,trunk
IL_2,dermoscopic,ISIC_4,,foot
IL_1,dermoscopic,ISIC_2,40.0,trunk
IL_2,clinical: close-up,ISIC_3,,foot
IL_3,dermoscopic,ISIC_5,70.0,
";

struct Fixture(tempfile::TempDir);

impl Fixture {
    fn pad() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fixture.write("set.toml", PAD).write("metadata.csv", PAD_TABLE);
        for (level, name) in [
            (10, "imgs_part_1/PAT_7_30_1.png"),
            (60, "imgs_part_1/more/PAT_8_30_2.PNG"),
            (90, "imgs_part_2/PAT_8_31_3.png"),
            (100, "imgs_part_2/PAT_9_33_5.png"),
        ] {
            write(&fixture.path(name), &png(2, 2, ExtendedColorType::Rgb8, &[level; 12]));
        }
        fixture
    }

    fn milk() -> Self {
        let fixture = Self(tempfile::tempdir().unwrap());
        fixture.write("set.toml", MILK).write("Metadata.csv", MILK_TABLE);
        fixture.write("GroundTruth.csv", "lesion_id,BCC,MEL,NV\nIL_2,0,1.0,0\nIL_1,1,0,0\nIL_9,0,0,1\n");
        for level in 1..6 {
            write(&fixture.path(&format!("images/ISIC_{level}.jpg")), &plain_jpeg(40 * level));
        }
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        write(&self.path(name), text.as_bytes());
        self
    }

    /// The error after `from` has become `to` in a file; paths without the folder.
    fn error(&self, name: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{from}");
        self.write(name, &text.replacen(from, to, 1));
        let error = described::load(self.path("set.toml")).unwrap_err().to_string();
        self.write(name, &text);
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn one_image_and_a_record_a_case() {
    let fixture = Fixture::pad();
    let set = described::load(fixture.path("set.toml")).unwrap();
    assert_eq!((set.name.as_str(), set.len(), set.synthetic), ("photos", 4, false));
    assert_eq!(set.tasks[0].label, "DIAG");
    let labels: Vec<Option<usize>> = set.cases.iter().map(|case| case.labels[0]).collect();
    assert_eq!(labels, [Some(3), Some(1), Some(4), None]);
    assert_eq!(
        set.notes,
        [
            "1 rows with diagnosis `PTERYGIUM` are left out",
            "no row has diagnosis `Merkel`, which the description names",
            "1 rows have no label of diagnosis"
        ]
    );
    let case = &set.cases[1];
    assert_eq!((case.group.as_str(), case.patient.as_deref()), ("PAT_8", Some("PAT_8")));
    assert_eq!(case.lesion.as_deref(), Some("PAT_8_30"));
    assert!(case.clinical[0].path.ends_with("imgs_part_1/more/PAT_8_30_2.PNG"));
    assert!(set.cases[2].clinical[0].path.ends_with("imgs_part_2/PAT_8_31_3.png"));

    use FieldValue::{Category, Missing, Number};
    let metadata: Vec<_> = set.cases.iter().map(|case| case.metadata.clone()).collect();
    assert_eq!(metadata[0], [Number(8.0), Missing, Category(1), Category(0)]);
    assert_eq!(metadata[1], [Number(61.0), Category(0), Category(0), Category(1)]);
    assert_eq!(metadata[2], [Missing, Category(0), Category(0), Category(0)]);
    assert_eq!(metadata[3], [Number(55.0), Category(1), Missing, Missing]);
    assert_eq!((set.fields[2].name.as_str(), set.fields[3].role), ("father", FieldRole::PostDiagnosis));
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis).unwrap();
    assert_eq!(encoder.column_names(), ["age", "gender=FEMALE", "gender=MALE", "father=BRAZIL", "father=POMERANIA"]);
}

#[test]
fn two_tables_and_two_rows_a_case() {
    let fixture = Fixture::milk();
    let set = described::load(fixture.path("set.toml")).unwrap();
    let ids: Vec<&str> = set.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids, ["IL_1", "IL_2", "IL_3"]);
    let labels: Vec<Option<usize>> = set.cases.iter().map(|case| case.labels[0]).collect();
    assert_eq!(labels, [Some(0), Some(1), None]);
    let name = |images: &[CaseImage]| images.first().map(|image| image.path.file_name().unwrap().to_owned());
    let images: Vec<_> = set.cases.iter().map(|case| (name(&case.clinical), name(&case.dermoscopic))).collect();
    let expected = |one: Option<&str>, two: Option<&str>| (one.map(Into::into), two.map(Into::into));
    assert_eq!(
        images,
        [
            expected(Some("ISIC_1.jpg"), Some("ISIC_2.jpg")),
            expected(Some("ISIC_3.jpg"), Some("ISIC_4.jpg")),
            expected(None, Some("ISIC_5.jpg")),
        ]
    );
    // The description says no unit.
    let mut age = milk10k::fields()[0].clone();
    age.unit = None;
    assert_eq!(set.fields, [age, set.fields[1].clone()]);
    assert_eq!(set.cases[1].metadata, [FieldValue::Missing, FieldValue::Category(0)]);
    assert_eq!(
        set.notes,
        [
            "1 rows of the table of cases have no row in GroundTruth.csv",
            "1 rows of GroundTruth.csv belong to no case",
            "1 rows have no label of diagnosis"
        ]
    );
    let records = described::load_with(fixture.path("set.toml"), &LoadOptions::metadata_only()).unwrap();
    assert_eq!(records.len(), 3);
    assert!(records.cases.iter().all(|case| case.clinical.is_empty() && case.dermoscopic.is_empty()));
}

#[test]
fn a_published_set_that_is_described_is_the_one_that_is_coded() {
    let fixture = Fixture(tempfile::tempdir().unwrap());
    let header: Vec<String> = ["patient_id", "lesion_id", "img_id", "diagnostic"].map(String::from).into();
    let fields = pad_ufes_20::fields();
    let names: Vec<String> = header.into_iter().chain(fields.iter().map(|field| field.name.clone())).collect();
    let mut table = vec![names.join(",")];
    let mut toml = PAD[..PAD.find("[images]").unwrap()].to_owned();
    toml += "[[tasks]]\nname = \"diagnosis\"\nlabel = \"DIAG\"\ncolumn = \"diagnostic\"\n";
    toml += &format!("classes = {:?}\n", pad_ufes_20::CLASSES);
    for field in &fields {
        let (kind, categories) = match &field.kind {
            dermafuse_schema::FieldKind::Categorical { categories } => ("categorical", Some(categories)),
            dermafuse_schema::FieldKind::Numeric => ("numeric", None),
        };
        toml += &format!("[[fields]]\ncolumn = \"{}\"\nkind = \"{kind}\"\n", field.name);
        toml += &categories.map_or_else(String::new, |categories| format!("categories = {categories:?}\n"));
        let post = field.role == FieldRole::PostDiagnosis;
        toml += if post { "role = \"post_diagnosis\"\n" } else { "role = \"pre_diagnosis\"\n" };
    }
    for row in 0..40_usize {
        let value = |(at, field): (usize, &dermafuse_schema::Field)| match &field.kind {
            _ if (row + at).is_multiple_of(5) => String::new(),
            dermafuse_schema::FieldKind::Categorical { categories } => {
                categories[(row * 7 + at) % categories.len()].clone()
            }
            dermafuse_schema::FieldKind::Numeric => (row + at).to_string(),
        };
        let values: Vec<String> = fields.iter().enumerate().map(value).collect();
        let class = pad_ufes_20::CLASSES[row % 6];
        table.push(format!("PAT_{},{},{row}.png,{class},{}", row / 3, row / 2, values.join(",")));
    }
    fixture.write("set.toml", &toml).write("metadata.csv", &table.join("\n"));
    let options = LoadOptions::metadata_only();
    let mut described = described::load_with(fixture.path("set.toml"), &options).unwrap();
    described.name = "pad-ufes-20".into();
    let mut coded = pad_ufes_20::load_with(fixture.0.path(), &options).unwrap();
    // The description says no units.
    coded.fields.iter_mut().for_each(|field| field.unit = None);
    assert_eq!(described, coded);
}

#[test]
fn faults_of_the_description_have_line_and_column() {
    let fixture = Fixture::pad();
    let error = |from, to| fixture.error("set.toml", from, to);
    assert_eq!(
        error("patient = \"patient_id\"", "patiend = \"patient_id\""),
        "set.toml: line 7, column 1: unknown field `patiend`, expected one of `file`, `id`, `patient`, `lesion`, `group`"
    );
    assert!(error("[[tasks]]", "[[tusks]]").starts_with("set.toml: line 14, column 3: unknown field `tusks`"));
    assert!(
        error("role = \"pre_diagnosis\"", "role = \"known\"")
            .starts_with("set.toml: line 25, column 8: unknown variant")
    );
    assert!(error("role = \"pre_diagnosis\"", "").contains("missing field `role`"));
    assert!(error("name = \"photos\"", "name = \"photos").starts_with("set.toml: line 1, column "));
    assert_eq!(
        error("column = \"age\"", "column = \"ages\""),
        "set.toml: line 23, column 10: column `ages`: expected a column of metadata.csv, whose header has: patient_id, \
         lesion_id, age, gender, background_father, diagnostic, img_id, biopsed"
    );
    assert_eq!(
        error("lesion = [\"patient_id\", \"lesion_id\"]", "lesion = { table = \"lesions\", column = \"id\" }"),
        "set.toml: line 8, column 10: table `lesions`: expected one of the tables: cases"
    );
    assert_eq!(
        error("\"Bowen's disease\" = \"SCC\"", "\"Bowen's disease\" = \"SSC\""),
        "set.toml: line 19, column 29: class `SSC`: expected one of ACK, BCC, MEL, NEV, SCC, SEK"
    );
    assert_eq!(
        error("drop = [\"PTERYGIUM\"]", "drop = [\"Merkel\"]"),
        "set.toml: line 20, column 9: dropped value `Merkel`: expected a value that is named once"
    );
    assert_eq!(
        error("\"SCC\", \"SEK\"]", "\"SCC\", \"SCC\"]"),
        "task `diagnosis` needs two or more distinct classes, found [\"ACK\", \"BCC\", \"MEL\", \"NEV\", \"SCC\", \"SCC\"] \
         (asked for in set.toml, line 15)"
    );
    assert_eq!(
        error("column = \"diagnostic\"\n", "column = \"diagnostic\"\nreference = \"ABS\"\n"),
        "set.toml: line 18, column 13: reference class `ABS`: expected one of the classes: ACK, BCC, MEL, NEV, SCC, SEK"
    );
    assert!(
        error("column = \"diagnostic\"\n", "").contains("task `diagnosis`: expected `column`, or `one_hot` without")
    );
    assert!(
        error("name = \"father\"", "name = \"age\"")
            .contains("line 35, column 8: field `age`: expected a name that no")
    );
    assert_eq!(
        error("categories = \"observed\"\nmap", "map"),
        "set.toml: line 37, column 8: kind of the field `categorical`: expected numeric, or beside `categories = [...]` or \
         `categories = \"observed\"`"
    );
    assert!(
        error("categories = \"observed\"\nmap", "categories = \"seen\"\nmap")
            .contains("a list of categories, or \"observed\"")
    );
    assert!(error("kind = \"categorical\"", "kind = \"numeric\"").contains("expected categorical, where there are"));
    let text = error("file = \"metadata.csv\"", "file = \"meta.csv\"");
    assert!(text.starts_with("meta.csv: ") && text.ends_with("(asked for in set.toml, line 5)"), "{text}");
    assert!(error("folders = [\"imgs_part_1\"", "folders = [\"imgs\"").ends_with("(asked for in set.toml, line 11)"));
    let text = described::load(Path::new("/nowhere/set.toml")).unwrap_err().to_string();
    assert!(text.starts_with("/nowhere/set.toml: "), "{text}");
}

#[test]
fn faults_of_the_tables_have_file_line_and_column() {
    let fixture = Fixture::pad();
    let error = |from, to| fixture.error("metadata.csv", from, to);
    assert_eq!(
        error(",8,,", ",8,female,"),
        "metadata.csv: line 2, column `gender`: unknown value `female`; known: FEMALE, MALE, NA (asked for in set.toml, line 29)"
    );
    assert_eq!(
        error(",61,", ",old,"),
        "metadata.csv: line 3, column `age`: found `old`, expected a finite number or nothing (asked for in set.toml, line 23)"
    );
    assert_eq!(
        error("PTERYGIUM", "NEVUS"),
        "metadata.csv: line 5, column `diagnostic`: unknown value `NEVUS`; known: ACK, BCC, MEL, NEV, SCC, SEK, \
         Bowen's disease, Merkel, PTERYGIUM, NA (asked for in set.toml, line 15)"
    );
    assert_eq!(
        error("PAT_8_30_2.png", "PAT_7_30_1.png"),
        "metadata.csv: line 3, column `img_id`: found `PAT_7_30_1.png`, expected a name that line 2 does not have \
         (asked for in set.toml, line 5)"
    );
    assert!(
        error("PAT_8_30_2.png", "")
            .starts_with("metadata.csv: line 3, column `img_id`: found ``, expected an identifier")
    );
    assert_eq!(
        error("PAT_8_30_2.png", "PAT_8.png"),
        "metadata.csv: line 3, column `img_id`: image `PAT_8.png` is not in imgs_part_1 (1 of 4 images are missing) \
         (asked for in set.toml, line 12)"
    );
    assert!(error("PAT_8_30_2.png", "../x.png").contains("expected a name or path inside the image folders"));
    let sub = fixture.error("metadata.csv", "PAT_8_30_2.png", "more/PAT_8_30_2.jpg");
    assert!(sub.contains("image `more/PAT_8_30_2.jpg` is not in"), "{sub}");
    assert!(
        error("True\n", "True,1\n").contains("line 3: 9 values where the header has 8 columns (asked for in set.toml")
    );
    write(&fixture.path("imgs_part_2/PAT_7_30_1.png"), &png(2, 2, ExtendedColorType::Rgb8, &[1; 12]));
    assert!(
        error("55", "56").contains("line 2, column `img_id`: found `PAT_7_30_1.png`, expected one image of that name")
    );
}

#[test]
fn a_case_is_left_out_by_all_of_its_rows_or_none() {
    const SET: &str = r#"name = "pairs"
[cases]
file = "rows.csv"
id = "id"
[images]
folders = ["images"]
clinical = { column = "photo", where = { kind = "close-up" } }
dermoscopic = { column = "photo", where = { kind = "dermoscopic" } }
[[tasks]]
name = "diagnosis"
column = "dx"
classes = ["MEL", "NEV"]
drop = ["other"]
"#;
    let load = |rows: &str| {
        let fixture = Fixture(tempfile::tempdir().unwrap());
        fixture.write("set.toml", SET).write("rows.csv", &format!("id,kind,photo,dx\n{rows}"));
        described::load_with(fixture.path("set.toml"), &LoadOptions::metadata_only()).map_err(|error| error.to_string())
    };
    let set = load("1,close-up,a,other\n2,close-up,c,MEL\n1,dermoscopic,b,other\n").unwrap();
    assert_eq!(set.cases.iter().map(|case| case.id.as_str()).collect::<Vec<_>>(), ["2"]);
    for rows in [
        "1,close-up,a,other\n2,close-up,c,MEL\n1,dermoscopic,b,MEL\n",
        "1,close-up,a,MEL\n2,close-up,c,MEL\n1,dermoscopic,b,other\n",
    ] {
        let error = load(rows).unwrap_err();
        let expected = "line 4, column `id`: found `1`, expected a row whose labels agree with line 2, another row of the same case";
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn rows_of_one_kind_are_images_of_their_case_in_order() {
    let fixture = Fixture::milk();
    let table = MILK_TABLE.replace("IL_2,dermoscopic,ISIC_4", "IL_2,clinical: close-up,ISIC_4");
    fixture.write("Metadata.csv", &table);
    let set = described::load(fixture.path("set.toml")).unwrap();
    let names: Vec<&str> =
        set.cases[1].clinical.iter().map(|path| path.path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!((names, set.cases[1].dermoscopic.len(), set.len()), (vec!["ISIC_4", "ISIC_3"], 0, 3));
}

#[test]
fn faults_of_joined_tables_have_their_place() {
    let fixture = Fixture::milk();
    let table = |from, to| fixture.error("Metadata.csv", from, to);
    let text = table("IL_1,dermoscopic,ISIC_2,40.0", "IL_1,dermoscopic,ISIC_2,41.0");
    assert_eq!(
        text,
        "Metadata.csv: line 4, column `lesion_id`: found `IL_1`, expected a row whose fields agree with line 2, another row \
         of the same case (asked for in set.toml, line 5)"
    );
    let text = table("IL_1,dermoscopic,ISIC_2", "IL_1,clinical: close-up,ISIC_1");
    assert!(text.contains("line 4, column `isic_id`: found `ISIC_1`, expected an image that no other row"), "{text}");
    let truth = |from, to| fixture.error("GroundTruth.csv", from, to);
    assert_eq!(
        truth("IL_1,1,0,0", "IL_1,1,0,1"),
        "GroundTruth.csv: line 3, column `NV`: found `1`, expected a single 1 in each row (asked for in set.toml, line 19)"
    );
    assert!(
        truth("IL_1,1,0,0", "IL_1,0,0,0").contains("line 3, column `BCC`: found `0`, expected a 1 in one of the class")
    );
    assert!(
        truth("IL_9", "IL_1")
            .contains("line 4, column `lesion_id`: found `IL_1`, expected a name that line 3 does not")
    );
    let toml = |from, to| fixture.error("set.toml", from, to);
    assert!(
        toml("name = \"truth\"", "name = \"cases\"")
            .contains("line 9, column 8: table `cases`: expected a name that no")
    );
    assert!(
        toml("key = \"lesion_id\"", "key = \"lesion\"")
            .contains("column `lesion`: expected a column of GroundTruth.csv")
    );
    assert!(
        toml("one_hot = \"truth\"", "one_hot = \"true\"")
            .contains("table `true`: expected one of the tables: cases, truth")
    );
    assert!(
        toml("where = { image_type", "where = { type").contains("column `type`: expected a column of Metadata.csv")
    );
}

#[test]
fn images_may_lie_elsewhere_and_a_marker_makes_it_synthetic() {
    let fixture = Fixture::pad();
    let folder = fixture.path("elsewhere");
    for name in ["PAT_7_30_1", "PAT_8_30_2", "PAT_8_31_3", "PAT_9_33_5"] {
        write(&folder.join(format!("{name}.png")), &png(2, 2, ExtendedColorType::Rgb8, &[7; 12]));
    }
    write(&fixture.path(SYNTHETIC_MARKER), b"");
    let options = LoadOptions { images: ImageSource::Folder(folder.clone()), ..LoadOptions::default() };
    let set = described::load_with(fixture.path("set.toml"), &options).unwrap();
    assert!(set.synthetic && set.cases.iter().all(|case| case.clinical[0].path.starts_with(&folder)));
    assert!(set.notes.iter().any(|note| note.contains("are the same image")), "{:?}", set.notes);
    assert!(set.cases.iter().all(|case| case.group == "PAT_7"), "identical images join their groups");
}
