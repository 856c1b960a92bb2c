//! An [`AnswerTable`] as a Parquet file, with the low-level writer of the `parquet` crate (no Arrow, no compression).

use std::borrow::Cow;
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, Type as PhysicalType};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::{AnswerTable, CaseAnswer, TaskAnswer};

/// The key under which the file has the notes, as a JSON list.
const NOTES: &str = "dermafuse.notes";

/// A column: its name, and a value or nothing for each case.
struct Column<'a> {
    name: String,
    values: Values<'a>,
}

enum Values<'a> {
    Texts(Vec<Option<Cow<'a, str>>>),
    Numbers(Vec<Option<f64>>),
}

/// The table as the bytes of a Parquet file: the columns of [`AnswerTable::to_csv`], texts as they are, no value where there is none.
pub(super) fn bytes(table: &AnswerTable, notes: &[String]) -> Result<Vec<u8>, ParquetError> {
    let columns = columns(table);
    let fields = columns.iter().map(|column| Ok(Arc::new(column.field()?))).collect::<Result<_, ParquetError>>()?;
    let schema = Type::group_type_builder("answers").with_fields(fields).build()?;
    let notes = serde_json::to_string(notes).expect("texts always serialise");
    let properties = WriterProperties::builder()
        .set_created_by(format!("dermafuse {}", env!("CARGO_PKG_VERSION")))
        .set_key_value_metadata(Some(vec![KeyValue::new(NOTES.to_owned(), notes)]))
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    columns.iter().try_for_each(|column| column.write(&mut group))?;
    group.close()?;
    file.into_inner()
}

fn columns(table: &AnswerTable) -> Vec<Column<'_>> {
    let texts = |name: String, of: &dyn Fn(&'_ CaseAnswer) -> Option<&'_ str>| Column {
        name,
        values: Values::Texts(table.cases.iter().map(|case| of(case).map(Cow::Borrowed)).collect()),
    };
    let mut columns = vec![
        texts("case".into(), &|case| Some(&case.case)),
        texts("basis".into(), &|case| case.basis.as_deref()),
        texts("status".into(), &|case| Some(&case.status)),
    ];
    if !table.has_truth {
        let findings = |case: &CaseAnswer| Some(Cow::Owned(case.findings.join("; "))).filter(|text| !text.is_empty());
        let findings = Values::Texts(table.cases.iter().map(findings).collect());
        columns.push(Column { name: "findings".into(), values: findings });
        let distances = Values::Numbers(table.cases.iter().map(|case| case.training_distance).collect());
        columns.push(Column { name: "training_distance".into(), values: distances });
    }
    for (index, task) in table.tasks.iter().enumerate() {
        let answers = || table.cases.iter().map(move |case| case.tasks.get(index));
        let numbers = |name: String, of: &dyn Fn(&TaskAnswer) -> f64| Column {
            name,
            values: Values::Numbers(answers().map(|answer| answer.map(of)).collect()),
        };
        columns.push(texts(task.name.clone(), &|case| Some(&case.tasks.get(index)?.class)));
        if table.has_truth {
            columns.push(texts(format!("{}:truth", task.name), &|case| case.tasks.get(index)?.truth.as_deref()));
        }
        columns.push(numbers(format!("{}:probability", task.name), &|answer| answer.probability));
        for (class, name) in task.classes.iter().enumerate() {
            columns.push(numbers(format!("{}={name}", task.name), &|answer| answer.probabilities[class].1));
        }
    }
    columns
}

impl Column<'_> {
    /// What the schema says of it.
    fn field(&self) -> Result<Type, ParquetError> {
        let field = match &self.values {
            Values::Texts(_) => Type::primitive_type_builder(&self.name, PhysicalType::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String)),
            Values::Numbers(_) => Type::primitive_type_builder(&self.name, PhysicalType::DOUBLE),
        };
        field.with_repetition(Repetition::OPTIONAL).build()
    }

    fn write(&self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        match &self.values {
            Values::Texts(texts) => {
                let texts: Vec<Option<ByteArray>> =
                    texts.iter().map(|text| text.as_deref().map(ByteArray::from)).collect();
                write::<ByteArrayType>(&texts, group)
            }
            Values::Numbers(numbers) => write::<DoubleType>(numbers, group),
        }
    }
}

/// Writes the next column.
fn write<T: DataType>(
    values: &[Option<T::T>],
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
) -> Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let there: Vec<T::T> = values.iter().flatten().cloned().collect();
    let mut column = group.next_column()?.expect("as many columns as the schema has");
    column.typed::<T>().write_batch(&there, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer_table::tests::{answers, table};
    use crate::{AnswerFormat, AnswerTable};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    /// The names of the columns, and the fields of each row.
    fn read(bytes: Vec<u8>) -> (Vec<String>, Vec<Vec<Field>>) {
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let schema = reader.metadata().file_metadata().schema().clone();
        let names = schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
        let rows = reader.get_row_iter(None).unwrap();
        let rows = rows.map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect());
        (names, rows.collect())
    }

    #[test]
    fn a_parquet_file_says_what_the_csv_says() {
        let table = table();
        let (names, rows) = read(table.to_bytes(AnswerFormat::Parquet, &["a note".into()]).unwrap());
        let csv = table.to_csv();
        assert_eq!(names, csv.lines().next().unwrap().split(',').collect::<Vec<_>>());
        assert_eq!(rows.len(), table.cases().len());
        let text = |text: &str| Field::Str(text.into());
        assert_eq!(rows[0][..4], [text("a"), Field::Null, text("a.jpg is cut off, or empty"), Field::Null]);
        assert_eq!(rows[0][4..], vec![Field::Null; 9]);
        // As it is, without the mark for spreadsheets.
        assert_eq!(rows[1][..3], [text("=b"), text("clinical"), text("ok")]);
        assert_eq!(rows[1][5..9], [text("MEL"), Field::Double(0.75), Field::Double(0.25), Field::Double(0.75)]);
        assert_eq!(rows[3][9..], [text("yes"), Field::Double(0.875), Field::Double(0.125), Field::Double(0.875)]);
    }

    #[test]
    fn truth_notes_and_the_same_bytes() {
        let table = AnswerTable::with_truth(&answers(), &[]).unwrap();
        let bytes = table.to_bytes(AnswerFormat::Parquet, &["a note".into()]).unwrap();
        assert_eq!(bytes, table.to_bytes(AnswerFormat::Parquet, &["a note".into()]).unwrap());
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes.clone())).unwrap();
        let kept = reader.metadata().file_metadata().key_value_metadata().unwrap();
        assert_eq!((kept[0].key.as_str(), kept[0].value.as_deref()), (NOTES, Some("[\"a note\"]")));
        let (names, rows) = read(bytes);
        assert_eq!(names[4], "diagnosis:truth");
        assert_eq!([&rows[0][4], &rows[1][4]], [&Field::Null, &Field::Str("NEV".into())]);
    }
}
