use std::collections::HashSet;
use std::fs;
use std::path::Path;

use dermafuse_data::{
    CaseSet, CaseView, Cell, Column, DataError, IMAGE_EXTENSIONS, MetadataEncoder, OutsideModel, Row, Table,
    UnseenCategory, source_beside_others,
};
use dermafuse_networks::Modality;
use dermafuse_schema::{
    Case, CaseId, CaseImage, FailedCase, Field, FieldKind, FieldRole, FieldValue, LesionArea, LesionRegion, Name,
    SchemaError, TaskSet,
};
use sha2::{Digest, Sha256};

use crate::InferError;
use crate::bundle::Bundle;

/// The columns of a table that name its cases; the first that is there does.
const ID_COLUMNS: [&str; 2] = ["case", "id"];

/// What stands between the names of several images in a cell.
const SEPARATOR: char = ';';

/// The cases that a model is asked about, without labels: one by one, from a table, or from a folder of images.
/// [`Bundle::questions`] begins them, [`Bundle::answer`] answers them.
///
/// A row that cannot be asked about (a value that its field does not have, an id that an earlier case has) keeps its place
/// and the reason, so that one wrong row of a table does not keep the others from being answered.
///
/// ```
/// use dermafuse_data::{MetadataEncoder, MetadataRoles, Table};
/// use dermafuse_infer::Questions;
/// use dermafuse_schema::{Field, FieldRole, Task, TaskSet};
///
/// let tasks = TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"])])?;
/// let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
/// let encoder = MetadataEncoder::fit(&[sex], [], MetadataRoles::PreDiagnosis)?;
/// let mut questions = Questions::new(&tasks, &encoder);
///
/// let table = Table::parse("patients.csv", b"case,sex,clinical\na,female,a.jpg\nb,f,b.jpg\nc,,c.jpg\n")?;
/// questions.add_table(&table, "photos".as_ref(), &[])?;
/// assert_eq!((questions.len(), questions.asked().rows()), (3, &[0, 2][..]));
/// let reason = &questions.refused()[0].reason;
/// assert_eq!(reason, "patients.csv: line 3, column `sex`: unknown value `f`; known: female, male");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Questions {
    encoder: MetadataEncoder,
    set: CaseSet,
    refused: Vec<FailedCase>,
    /// The beginnings of the SHA-256 of all names so far: of those of a million cases, no two are the same.
    ids: HashSet<u128>,
}

/// The columns of a kind of image.
#[derive(Clone, Copy)]
struct ImageColumns<'a> {
    files: Option<Column<'a>>,
    /// Where the lesion is in each of them.
    boxes: Option<Column<'a>>,
    masks: Option<Column<'a>>,
}

/// Where a table says what.
struct Columns<'a> {
    clinical: ImageColumns<'a>,
    dermoscopic: ImageColumns<'a>,
    /// Where the model looks at the patient's other lesions: the patient, and which lesion it is.
    patient: Option<Column<'a>>,
    lesion: Option<Column<'a>>,
    /// One for each field; `None` where the table does not have it.
    fields: Vec<Option<Column<'a>>>,
}

impl Bundle {
    /// No questions yet, for this model.
    #[must_use]
    pub fn questions(&self) -> Questions {
        let mut questions = Questions::new(&self.description.tasks, &self.description.encoder);
        for said in self.description.outside.iter().flat_map(OutsideModel::fields) {
            // One that stands beside those of other lesions is asked for already.
            match questions.set.fields.iter_mut().find(|field| field.name == said.name) {
                Some(field) => *field = said,
                None => questions.set.fields.push(said),
            }
        }
        questions
    }

    /// The cases of a set as questions to this model. The model looks at no label.
    #[must_use]
    pub fn questions_of(&self, set: CaseSet) -> Questions {
        let ids = set.cases.iter().map(|case| digest_of(&case.id)).collect();
        Questions { encoder: self.description.encoder.clone(), set, refused: Vec::new(), ids }
    }
}

impl Questions {
    /// No questions yet, for a model of these tasks whose encoder this is.
    #[must_use]
    pub fn new(tasks: &TaskSet, encoder: &MetadataEncoder) -> Self {
        let mut fields: Vec<Field> = encoder.fields().cloned().collect();
        // What the encoder looks at beside other lesions alone must be known of this one, too.
        let sources: Vec<String> = encoder.fields().filter_map(source_beside_others).map(str::to_owned).collect();
        for source in sources {
            if fields.iter().all(|field| field.name != source) {
                fields.push(Field::numeric(source, FieldRole::ImageDerived));
            }
        }
        let set = CaseSet {
            name: "cases without labels".into(),
            synthetic: false,
            tasks: tasks.clone(),
            fields,
            cases: Vec::new(),
            split: None,
            notes: Vec::new(),
        };
        Self { encoder: encoder.clone(), set, refused: Vec::new(), ids: HashSet::new() }
    }

    /// What tells these questions from others: the SHA-256, in hexadecimal, over the fields and all cases in their order. It sees names of cases,
    /// patients and lesions, values, reasons of refusals, boxes, and the names of files of images and masks, but neither their folders nor what is in them.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut digest = Sha256::new();
        let file_name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file_names =
            |images: &[CaseImage]| -> Vec<String> { images.iter().map(|image| file_name(&image.path)).collect() };
        let area = |image: &CaseImage| {
            image.area().map(|area| match area {
                LesionArea::Box(lesion) => lesion.to_string(),
                LesionArea::Mask(file) => file_name(file),
            })
        };
        let mut add = |written: serde_json::Result<Vec<u8>>| {
            let bytes = written.expect("names, numbers and words are written as JSON");
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        // Values of fields are numbers of their categories.
        add(serde_json::to_vec(&self.set.fields));
        for case in &self.set.cases {
            let images = [file_names(&case.clinical), file_names(&case.dermoscopic)];
            add(serde_json::to_vec(&(&case.id, &case.patient, &case.lesion, images, &case.metadata)));
            let areas: Vec<Option<String>> = case.clinical.iter().chain(&case.dermoscopic).map(area).collect();
            // Questions without any have the fingerprint that they had in earlier versions.
            if areas.iter().any(Option::is_some) {
                add(serde_json::to_vec(&areas));
            }
        }
        self.refused.iter().for_each(|case| add(serde_json::to_vec(&(case.row, &case.id, &case.reason))));
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// No questions, of the same model, that know the names of these: a later case of one of the names is refused, as in one table. So a
    /// table can be asked about part by part.
    #[must_use]
    pub fn next_part(mut self) -> Self {
        self.set.cases.clear();
        self.set.notes.clear();
        self.refused.clear();
        self
    }

    /// Adds a case from image files, with where the lesion is in them if that is known, and what is known of the patient: names of the
    /// model's fields with their values as text. What is not named is not recorded.
    ///
    /// # Errors
    /// A field that the model does not use, one that is given twice, a category that the field does not have, a number that
    /// is none; an id that an earlier case has. Nothing is added then.
    pub fn add(
        &mut self,
        id: impl Into<CaseId>,
        clinical: &[CaseImage],
        dermoscopic: &[CaseImage],
        values: &[(String, String)],
    ) -> Result<(), InferError> {
        let case = Case {
            clinical: clinical.to_vec(),
            dermoscopic: dermoscopic.to_vec(),
            metadata: self.metadata(values)?,
            ..self.blank(id.into())
        };
        self.check(&case)?;
        self.push(case);
        Ok(())
    }

    /// Adds a case for each row of a table. Its column `case` or `id` names the cases (without one they are called by their
    /// lines), `clinical` and `dermoscopic` hold paths of images, which start from the folder `images` (several of a kind with `;`
    /// between them), `clinical_box` and `dermoscopic_box` where the lesion is in each of them (`x,y,width,height` in pixels, with `;` in
    /// between), `clinical_mask` and `dermoscopic_mask` paths of masks instead, and each other column
    /// of the name of a field of the model holds its values. Of a model that looks at the patient's other lesions, `patient` says
    /// whose they are, and `lesion`, if it is there, which photos are of one. Nothing at all, or one of the words `missing`, is not recorded.
    ///
    /// Columns that are not used and fields that have no column are in the [notes](Questions::notes). A row that cannot be
    /// asked about is [refused](Questions::refused).
    ///
    /// # Errors
    /// A table of which no column but the id is used.
    pub fn add_table(&mut self, table: &Table, images: &Path, missing: &[String]) -> Result<(), InferError> {
        let columns = self.columns(table)?;
        let id_column = Self::id_column(table.headers());
        for row in 0..table.len() {
            let id = Self::id_of(&table.row(row), id_column);
            match self.case_of(&columns, row, id.clone(), images, missing) {
                Ok(case) => self.push(case),
                Err(error) => {
                    self.refused.push(FailedCase { row: self.set.len(), id: id.clone(), reason: error.to_string() });
                    let case = self.blank(id);
                    self.set.cases.push(case);
                }
            }
        }
        Ok(())
    }

    /// The position of the column that names the cases; the first of `case` and `id` that is there does.
    #[must_use]
    pub fn id_column(headers: &[String]) -> Option<usize> {
        ID_COLUMNS.into_iter().find_map(|name| headers.iter().position(|header| header == name))
    }

    /// What the case of a row is called: by the [column](Self::id_column) that names them, and where that says nothing by its line.
    #[must_use]
    pub fn id_of(row: &Row<'_>, id_column: Option<usize>) -> CaseId {
        match id_column.map(|column| row.cell(column).text()) {
            Some(id) if !id.is_empty() => CaseId::from(id),
            _ => CaseId::from(format!("line {}", row.line())),
        }
    }

    /// Whether answers depend on the patient's other lesions, so that all cases of a patient must be asked about together.
    #[must_use]
    pub fn look_beside(&self) -> bool {
        self.set.fields.iter().any(|field| field.role == FieldRole::OtherLesions)
    }

    /// Adds a case for each image file that lies in a folder, in the order of their names, which are the cases' ids. Folders
    /// in it are not looked into; they, and other files that are not hidden, are counted in the [notes](Questions::notes).
    ///
    /// # Errors
    /// A folder that cannot be read, or that has no image file; a name that an earlier case has.
    pub fn add_folder(&mut self, folder: &Path, view: Modality) -> Result<(), InferError> {
        let io_error = |source| DataError::Io { path: folder.into(), source };
        let (mut files, mut folders, mut others) = (Vec::new(), 0_usize, 0_usize);
        for entry in fs::read_dir(folder).map_err(io_error)? {
            let entry = entry.map_err(io_error)?;
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if name.starts_with('.') {
                continue;
            }
            match (path.is_dir(), is_image(&path)) {
                (true, _) => folders += 1,
                (false, true) => files.push((name, path)),
                (false, false) => others += 1,
            }
        }
        if files.is_empty() {
            return Err(InferError::NoImageFiles { folder: folder.into() });
        }
        files.sort();
        for (name, path) in files {
            let (clinical, dermoscopic) = match view {
                Modality::Clinical => (vec![path.into()], Vec::new()),
                Modality::Dermoscopic => (Vec::new(), vec![path.into()]),
            };
            self.add(name, &clinical, &dermoscopic, &[])?;
        }
        let counts = [(others, "files that are no images by their names"), (folders, "folders")];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        self.set
            .notes
            .extend(counts.map(|(count, what)| format!("{}: passed over {what}: {count}.", folder.display())));
        Ok(())
    }

    /// How many cases there are, those that are refused included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// The cases that can be asked about, in order.
    #[must_use]
    pub fn asked(&self) -> CaseView<'_> {
        let refused: HashSet<usize> = self.refused.iter().map(|case| case.row).collect();
        let rows: Vec<usize> = (0..self.len()).filter(|row| !refused.contains(row)).collect();
        self.set.view(rows).expect("the rows are of the set")
    }

    /// The rows that cannot be asked about, in order, and why.
    #[must_use]
    pub fn refused(&self) -> &[FailedCase] {
        &self.refused
    }

    /// What was passed over or not found, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.set.notes
    }

    /// The cases as a set in the model's tasks and fields. A refused one has its id alone.
    #[must_use]
    pub fn set(&self) -> &CaseSet {
        &self.set
    }

    /// The cases as a set of their own.
    #[must_use]
    pub fn into_set(self) -> CaseSet {
        self.set
    }

    fn push(&mut self, case: Case) {
        self.ids.insert(digest_of(&case.id));
        self.set.cases.push(case);
    }

    /// A case of which nothing is known.
    fn blank(&self, id: CaseId) -> Case {
        Case {
            metadata: vec![FieldValue::Missing; self.set.fields.len()],
            labels: vec![None; self.set.tasks.len()],
            ..Case::new(id)
        }
    }

    /// Refuses what would stop the model from answering the others.
    fn check(&self, case: &Case) -> Result<(), InferError> {
        if self.ids.contains(&digest_of(&case.id)) {
            return Err(InferError::CaseTwice { case: case.id.to_string() });
        }
        if self.encoder.config().unseen == UnseenCategory::Refuse {
            self.encoder.matched(&self.set.fields)?.encode(case)?;
        }
        Ok(())
    }

    fn metadata(&self, given: &[(String, String)]) -> Result<Vec<FieldValue>, InferError> {
        let fields = &self.set.fields;
        let mut values = vec![FieldValue::Missing; fields.len()];
        for (at, (name, text)) in given.iter().enumerate() {
            let place =
                fields.iter().position(|field| field.name == *name).ok_or_else(|| InferError::UnknownField {
                    field: name.clone(),
                    known: fields.iter().map(|field| field.name.clone()).collect(),
                })?;
            if let Some((_, first)) = given[..at].iter().find(|(earlier, _)| earlier == name) {
                return Err(InferError::FieldTwice { field: name.clone(), first: first.clone(), second: text.clone() });
            }
            values[place] = parse(&fields[place], text)?;
        }
        Ok(values)
    }

    /// Finds the columns, and notes what is not used and what is not there.
    fn columns<'a>(&mut self, table: &'a Table) -> Result<Columns<'a>, InferError> {
        let column = |name: &str| table.column(name).ok();
        let id = Self::id_column(table.headers()).map(|at| table.headers()[at].as_str());
        let of_images = |kind: Modality| ImageColumns {
            files: column(kind.name()),
            boxes: column(&format!("{kind}_box")),
            masks: column(&format!("{kind}_mask")),
        };
        let (clinical, dermoscopic) = (of_images(Modality::Clinical), of_images(Modality::Dermoscopic));
        let fields: Vec<_> = self.set.fields.iter().map(|field| column(&field.name)).collect();
        let looks_beside = self.look_beside();
        let of_patient = |name: &str| column(name).filter(|_| looks_beside);
        let (patient, lesion) = (of_patient("patient"), of_patient("lesion"));
        let used: Vec<&str> = fields
            .iter()
            .flatten()
            .chain(&clinical.files)
            .chain(&dermoscopic.files)
            .chain(&patient)
            .chain(&lesion)
            .map(Column::name)
            .collect();
        let areas = [&clinical, &dermoscopic].map(|image| image.files.and(Some([image.boxes, image.masks])));
        let areas: Vec<&str> = areas.iter().flatten().flatten().flatten().map(Column::name).collect();
        let file = table.file();
        if used.is_empty() {
            return Err(InferError::NoColumn {
                file: file.into(),
                found: table.headers().to_vec(),
                known: ["clinical", "dermoscopic"]
                    .into_iter()
                    .chain(self.set.fields.iter().map(|field| field.name.as_str()))
                    .map(str::to_owned)
                    .collect(),
            });
        }
        let idle: Vec<&str> = table
            .headers()
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty() && !used.contains(name) && !areas.contains(name) && id != Some(*name))
            .collect();
        let mut notes = Vec::new();
        if !idle.is_empty() {
            notes.push(format!("{}: these columns are not used: {}.", file.display(), idle.join(", ")));
        }
        if looks_beside && patient.is_none() {
            notes.push(format!(
                "{}: no column `patient` says which lesions are of one patient: each is answered as a patient's only lesion.",
                file.display()
            ));
        }
        let is_asked =
            |(field, column): &(&Field, &Option<Column<'_>>)| column.is_none() && field.role != FieldRole::OtherLesions;
        let absent = self.set.fields.iter().zip(&fields).filter(is_asked);
        let absent: Vec<&str> = absent.map(|(field, _)| field.name.as_str()).collect();
        if !absent.is_empty() {
            notes.push(format!(
                "{}: these fields of the model have no column and count as not recorded: {}.",
                file.display(),
                absent.join(", ")
            ));
        }
        if id.is_none() {
            let names = ID_COLUMNS.join("` or `");
            notes.push(format!(
                "{}: no column `{names}` names the cases: they are called by their lines.",
                file.display()
            ));
        }
        self.set.notes.extend(notes);
        Ok(Columns { clinical, dermoscopic, patient, lesion, fields })
    }

    fn case_of(
        &self,
        columns: &Columns<'_>,
        row: usize,
        id: CaseId,
        images: &Path,
        missing: &[String],
    ) -> Result<Case, InferError> {
        let name = |column: Option<Column<'_>>| {
            let text = column.map_or("", |column| column.text(row));
            (!text.is_empty() && missing.iter().all(|word| word != text)).then(|| Name::from(text))
        };
        let values = self.set.fields.iter().zip(&columns.fields).map(|(field, column)| match column {
            Some(column) => value_of(field, column.cell(row), missing),
            None => Ok(FieldValue::Missing),
        });
        let case = Case {
            clinical: images_of(&columns.clinical, row, images, missing)?,
            dermoscopic: images_of(&columns.dermoscopic, row, images, missing)?,
            patient: name(columns.patient),
            lesion: name(columns.lesion),
            metadata: values.collect::<Result<_, _>>()?,
            ..self.blank(id)
        };
        self.check(&case)?;
        Ok(case)
    }
}

/// The images of a kind that a row names, each with where its lesion is; paths start from the folder.
///
/// # Errors
/// A box that is none, a box and a mask of one image, another number of these than of images.
fn images_of(
    columns: &ImageColumns<'_>,
    row: usize,
    folder: &Path,
    missing: &[String],
) -> Result<Vec<CaseImage>, DataError> {
    let is_said = |text: &str| !text.is_empty() && missing.iter().all(|word| word != text);
    // Tables from Windows have `\` in their paths.
    let path = |name: &str| folder.join(name.replace('\\', "/"));
    let text = columns.files.map_or("", |column| column.text(row));
    let names = text.split(SEPARATOR).map(str::trim).filter(|name| is_said(name));
    let mut images: Vec<CaseImage> = names.map(|name| path(name).into()).collect();
    let area_of_box = |cell: &Cell<'_>, text: &str| match text.parse() {
        Ok(lesion) => Ok(LesionArea::Box(lesion)),
        Err(SchemaError::LesionBox { reason, .. }) => {
            Err(cell.error(format!("a lesion box x,y,width,height in pixels: {reason}")))
        }
        Err(other) => Err(cell.error(other.to_string())),
    };
    for (column, is_mask) in [(columns.boxes, false), (columns.masks, true)] {
        let Some(cell) = column.map(|column| column.cell(row)).filter(|cell| is_said(cell.text())) else { continue };
        let parts: Vec<&str> = cell.text().split(SEPARATOR).map(str::trim).collect();
        if parts.len() != images.len() {
            let expected = format!("as many as images, {}, with `{SEPARATOR}` in between", images.len());
            return Err(cell.error(expected));
        }
        for (image, part) in images.iter_mut().zip(parts).filter(|(_, part)| is_said(part)) {
            if image.lesion.is_some() {
                return Err(cell.error("nothing for an image that has a box: a box or a mask says where a lesion is"));
            }
            let area = if is_mask { LesionArea::Mask(path(part)) } else { area_of_box(&cell, part)? };
            image.lesion = Some(Box::new(LesionRegion { area, written: Some(cell.place()) }));
        }
    }
    Ok(images)
}

/// The first 16 bytes of the SHA-256 of a name.
fn digest_of(id: &CaseId) -> u128 {
    let digest = Sha256::digest(id.as_str());
    u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| IMAGE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(found)))
}

fn value_of(field: &Field, cell: Cell<'_>, missing: &[String]) -> Result<FieldValue, DataError> {
    if missing.iter().any(|word| word == cell.text()) {
        return Ok(FieldValue::Missing);
    }
    let value = match &field.kind {
        FieldKind::Categorical { categories } => cell.category(categories)?.map(FieldValue::Category),
        FieldKind::Numeric => cell.number()?.map(FieldValue::Number),
    };
    Ok(value.unwrap_or(FieldValue::Missing))
}

fn parse(field: &Field, text: &str) -> Result<FieldValue, InferError> {
    let refused =
        |expected| Err(InferError::FieldValue { field: field.name.clone(), found: text.to_owned(), expected });
    match &field.kind {
        FieldKind::Categorical { categories } => match categories.iter().position(|category| category == text) {
            Some(index) => Ok(FieldValue::Category(index)),
            None => refused(format!("one of {}", categories.join(", "))),
        },
        FieldKind::Numeric => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(FieldValue::Number(number)),
            _ => refused("a number".into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use dermafuse_backbones::BackboneKind;
    use dermafuse_data::{CategorySource, EncoderConfig, MetadataRoles, Preprocess, RgbPixels, encode_png};
    use dermafuse_ensemble::TwoStage;
    use dermafuse_networks::{ImageClassifierConfig, NetworkConfig};
    use dermafuse_schema::{BranchWeights, FieldRole, FuseSpace, Task};

    use crate::BundleDescription;

    fn encoder(config: impl Into<EncoderConfig>) -> MetadataEncoder {
        let sex = Field::categorical("sex", FieldRole::PreDiagnosis, ["female", "male"]);
        let age = Field::numeric("age", FieldRole::PreDiagnosis);
        let case = Case { metadata: vec![FieldValue::Category(0), FieldValue::Number(40.0)], ..Case::new("1") };
        MetadataEncoder::fit(&[sex, age], [&case], config).unwrap()
    }

    fn tasks() -> TaskSet {
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["NEV", "MEL"]), Task::new("veil", "BWV", ["no", "yes"])])
            .unwrap()
    }

    fn questions() -> Questions {
        Questions::new(&tasks(), &encoder(MetadataRoles::PreDiagnosis))
    }

    fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
        values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_case_is_made_of_names_and_values() {
        let mut questions = questions();
        questions.add("a", &["a.jpg".into()], &[], &pairs(&[("age", "52"), ("sex", "male")])).unwrap();
        questions.add("b", &[], &[], &[]).unwrap();
        let set = questions.set();
        assert_eq!(set.cases[0].metadata, [FieldValue::Category(1), FieldValue::Number(52.0)]);
        assert_eq!(set.cases[0].clinical, [CaseImage::from("a.jpg")]);
        assert_eq!(set.cases[1].metadata, [FieldValue::Missing; 2]);
        set.check().unwrap();

        let mut error = |id: &str, values| questions.add(id, &[], &[], &pairs(values)).unwrap_err().to_string();
        assert_eq!(error("c", &[("colour", "red")]), "the model uses no field `colour`; it uses sex, age");
        assert_eq!(error("c", &[("sex", "f")]), "field `sex` is one of female, male, not `f`");
        assert_eq!(error("c", &[("age", "old")]), "field `age` is a number, not `old`");
        assert_eq!(error("c", &[("age", "1"), ("age", "2")]), "field `age` is given twice: `1` and `2`");
        assert!(error("a", &[]).starts_with("the id `a` is that of an earlier case too"));
        assert_eq!((questions.len(), questions.asked().rows()), (2, &[0, 1][..]));
    }

    #[test]
    fn a_wrong_row_of_a_table_keeps_its_place_and_the_reason() {
        let mut questions = questions();
        let table = "id,sex,age,clinical,dermoscopic,remark\n\
                     a,female,40,photos\\a.jpg,,x\n\
                     b,unknown,,b.jpg,b2.jpg; b3.jpg,\n\
                     c,,old,c.jpg,,\n\
                     a,male,,d.jpg,,\n\
                     ,male,12.5,e.jpg,NA,\n";
        let table = Table::parse("t.csv", table.as_bytes()).unwrap();
        questions.add_table(&table, "root".as_ref(), &["NA".into(), "unknown".into()]).unwrap();
        assert_eq!((questions.len(), questions.asked().rows()), (5, &[0, 1, 4][..]));
        let refused: Vec<(usize, &str, &str)> =
            questions.refused().iter().map(|case| (case.row, case.id.as_str(), case.reason.as_str())).collect();
        assert_eq!(
            refused,
            [
                (2, "c", "t.csv: line 4, column `age`: found `old`, expected a finite number or nothing"),
                (3, "a", "the id `a` is that of an earlier case too; give each case an id of its own"),
            ]
        );
        let cases = &questions.set().cases;
        assert_eq!(cases[0].clinical, [CaseImage::from("root/photos/a.jpg")]);
        assert_eq!((cases[1].metadata[0], cases[4].id.as_str()), (FieldValue::Missing, "line 6"));
        assert_eq!((cases[1].dermoscopic.len(), cases[4].dermoscopic.len()), (2, 0));
        assert_eq!(questions.notes(), ["t.csv: these columns are not used: remark."]);
    }

    #[test]
    fn a_table_in_parts_refuses_what_it_refuses_as_a_whole() {
        let rows = ["a,30", "b,40", "a,50", "c,old", "c,60"];
        let table =
            |rows: &[&str]| Table::parse("t.csv", ["case,age", &rows.join("\n")].join("\n").as_bytes()).unwrap();
        let mut whole = questions();
        whole.add_table(&table(&rows), "".as_ref(), &[]).unwrap();
        let (mut part, mut refused) = (questions(), Vec::new());
        for (at, rows) in rows.chunks(2).enumerate() {
            part = part.next_part();
            part.add_table(&table(rows), "".as_ref(), &[]).unwrap();
            refused.extend(part.refused().iter().map(|case| (2 * at + case.row, case.id.clone())));
            assert_eq!((part.len(), part.notes().len()), (rows.len(), 1));
        }
        let of_whole: Vec<_> = whole.refused().iter().map(|case| (case.row, case.id.clone())).collect();
        assert_eq!((refused.len(), refused), (2, of_whole));
    }

    #[test]
    fn what_a_table_lacks_is_said() {
        let mut questions = questions();
        let table = Table::parse("t.csv", b"clinical\na.jpg\n").unwrap();
        questions.add_table(&table, "".as_ref(), &[]).unwrap();
        assert_eq!(
            questions.notes(),
            [
                "t.csv: these fields of the model have no column and count as not recorded: sex, age.",
                "t.csv: no column `case` or `id` names the cases: they are called by their lines.",
            ]
        );
        assert_eq!(questions.set().cases[0].id.as_str(), "line 2");
        let table = Table::parse("t.csv", b"id,image\n1,a.jpg\n").unwrap();
        let error = questions.add_table(&table, "".as_ref(), &[]).unwrap_err().to_string();
        assert_eq!(error, "t.csv has none of the columns clinical, dermoscopic, sex, age; it has id, image");
    }

    #[test]
    fn a_category_that_the_encoder_refuses_is_refused_alone() {
        let config = EncoderConfig {
            categories: CategorySource::Observed,
            unseen: UnseenCategory::Refuse,
            ..EncoderConfig::default()
        };
        let mut questions = Questions::new(&tasks(), &encoder(config));
        let table = Table::parse("t.csv", b"case,sex\na,male\nb,female\n").unwrap();
        questions.add_table(&table, "".as_ref(), &[]).unwrap();
        assert_eq!(questions.asked().rows(), [1]);
        let reason = &questions.refused()[0].reason;
        assert!(reason.starts_with("case `a`: field `sex`: no training case had `male`; known: female;"), "{reason}");
    }

    /// A model of a random network that looks at the clinical photo.
    fn model() -> Bundle {
        let config = ImageClassifierConfig::new(BackboneKind::ResNet18Quarter, Modality::Clinical, vec![2, 2]);
        let network = NetworkConfig::ImageClassifier(config);
        let description = BundleDescription {
            synthetic: true,
            encoder: encoder(MetadataRoles::PreDiagnosis),
            ..BundleDescription::new(tasks(), network.clone(), Preprocess::imagenet(32))
        };
        let weights = BranchWeights::new([("clinical", 1.0)]).unwrap();
        let two_stage = TwoStage::new(weights, FuseSpace::Logits, None, 1.0).unwrap();
        Bundle::new(description, network.init_seeded(3, &Device::flex()).unwrap(), two_stage)
    }

    #[test]
    fn all_that_can_be_answered_is_answered_and_the_rest_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let pixels = RgbPixels::new(8, 8, (0..192).collect()).unwrap();
        fs::write(folder.path().join("a.png"), encode_png(&pixels)).unwrap();
        fs::write(folder.path().join("b.JPG"), b"no image").unwrap();
        fs::write(folder.path().join("c.png"), encode_png(&pixels)).unwrap();
        fs::write(folder.path().join("notes.txt"), b"x").unwrap();
        fs::create_dir(folder.path().join("more")).unwrap();

        let model = model();
        let mut questions = model.questions();
        questions.add_folder(folder.path(), Modality::Clinical).unwrap();
        assert_eq!(questions.notes().len(), 2);
        assert!(questions.notes()[0].ends_with(": passed over files that are no images by their names: 1."));
        let table = Table::parse("t.csv", b"case,age,clinical\nd,old,a.png\ne,30,a.png\n").unwrap();
        questions.add_table(&table, folder.path(), &[]).unwrap();

        let answers = model.answer(&questions, |_| ()).unwrap();
        let ids: Vec<&str> = answers.last().ids.iter().map(CaseId::as_str).collect();
        assert_eq!((ids, answers.rows.as_slice()), (vec!["a.png", "c.png", "e"], [0, 2, 4].as_slice()));
        assert_eq!(answers.failed.iter().map(|case| case.row).collect::<Vec<_>>(), [1, 3]);
        assert!(
            answers.notes.iter().any(|note| note.starts_with("2 of 5 cases could not be answered; the first, `b.JPG`"))
        );
        // The same photo has the same answer, alone too.
        let table = &answers.last().probabilities[0];
        assert_eq!(table.row(0), table.row(1));
        let alone = model.single_case("a", &[folder.path().join("a.png").into()], &[], &[]).unwrap();
        let alone = model.predict(&alone.whole(), |_| ()).unwrap();
        assert_eq!(alone.last().probabilities[0].row(0), table.row(0));

        // Where nothing can be answered, the first reason is the error.
        let mut wrong = model.questions();
        let table = Table::parse("t.csv", b"case,age\nd,old\n").unwrap();
        wrong.add_table(&table, folder.path(), &[]).unwrap();
        let error = model.answer(&wrong, |_| ()).unwrap_err().to_string();
        assert!(error.starts_with("no case could be answered; the first, `d`: t.csv: line 2, column `age`"), "{error}");
        let error = model.answer(&model.questions(), |_| ()).unwrap_err().to_string();
        assert_eq!(error, "there is no case to ask about");
        let error = wrong.add_folder(&folder.path().join("more"), Modality::Clinical).unwrap_err().to_string();
        assert!(error.contains("more holds no image file (jpg, "), "{error}");
    }
}
