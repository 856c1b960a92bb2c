use dermafuse_data::{CaseSet, MetadataEncoder, MetadataRoles, derm7pt, milk10k};
use dermafuse_schema::{Case, FieldValue};

use crate::fixture::case_set;

fn with_metadata(metadata: Vec<FieldValue>) -> Case {
    Case { metadata, ..case_set(&[(0, None)]).cases.remove(0) }
}

#[test]
fn derm7pt_with_everything_is_the_published_twenty_columns() {
    let fields = derm7pt::fields();
    let case = with_metadata([2, 0, 8, 1, 1].map(FieldValue::Category).to_vec());
    let encoder = MetadataEncoder::fit(&fields, [&case], MetadataRoles::IncludePostDiagnosis).unwrap();
    assert_eq!(encoder.width(), 20);
    let ones: Vec<usize> =
        encoder.encode(&case).unwrap().iter().enumerate().filter(|(_, v)| **v == 1.0).map(|(at, _)| at).collect();
    assert_eq!(ones, [2, 3, 14, 16, 18]);
    let names = encoder.column_names();
    assert_eq!(names[0], "level_of_diagnostic_difficulty=low");
    assert_eq!(names[11], "location=head neck");
    assert_eq!(names[19], "management=no further examination");
    assert_eq!(encoder.uses_post_diagnosis(), ["level_of_diagnostic_difficulty", "management"]);

    let honest = MetadataEncoder::fit(&fields, [&case], MetadataRoles::default()).unwrap();
    assert_eq!(honest.width(), 14);
    assert_eq!(honest.field_names(), ["elevation", "location", "sex"]);
    assert!(honest.uses_post_diagnosis().is_empty());
}

#[test]
fn image_derived_scores_are_off_unless_asked_for() {
    let fields = milk10k::fields();
    let case = with_metadata(vec![FieldValue::Missing; fields.len()]);
    let width = |roles| MetadataEncoder::fit(&fields, [&case], roles).unwrap().width();
    assert_eq!(width(MetadataRoles::PreDiagnosis), 1 + 2 + 6 + 7);
    assert_eq!(width(MetadataRoles::IncludeImageDerived), 16 + 14);
    assert_eq!(width(MetadataRoles::All), 30);
}

#[test]
fn a_column_that_training_does_not_vary_says_nothing() {
    let fields = [dermafuse_schema::Field::numeric("age", dermafuse_schema::FieldRole::PreDiagnosis)];
    let case = |age| with_metadata(vec![FieldValue::Number(age)]);
    let encoder = MetadataEncoder::fit(&fields, &[case(50.0), case(50.0)], MetadataRoles::default()).unwrap();
    assert_eq!(encoder.encode(&case(90.0)).unwrap(), [0.0]);
    let unseen = MetadataEncoder::fit(&fields, &[with_metadata(vec![FieldValue::Missing])], MetadataRoles::default());
    assert_eq!(unseen.unwrap().encode(&case(90.0)).unwrap(), [0.0]);
}

#[test]
fn cases_that_do_not_fit_are_named() {
    let fields = derm7pt::fields();
    let good = with_metadata(vec![FieldValue::Category(0); 5]);
    let encoder = MetadataEncoder::fit(&fields, [&good], MetadataRoles::All).unwrap();
    let error = |metadata| encoder.encode(&with_metadata(metadata)).unwrap_err().to_string();
    assert_eq!(error(vec![]), "case `0`: number of metadata values: expected 5, found 0");
    let mut metadata = vec![FieldValue::Category(0); 5];
    metadata[3] = FieldValue::Category(2);
    assert_eq!(error(metadata.clone()), "case `0`: field `sex`: expected a category below 2, found Category(2)");
    metadata[3] = FieldValue::Number(1.0);
    assert_eq!(error(metadata), "case `0`: field `sex`: expected a category below 2, found Number(1.0)");
}

#[test]
fn the_encoder_survives_json_and_fills_the_cohort() {
    let fields = derm7pt::fields();
    let cases = vec![with_metadata(vec![FieldValue::Category(1); 5]), with_metadata(vec![FieldValue::Missing; 5])];
    let encoder = MetadataEncoder::fit(&fields, &cases, MetadataRoles::All).unwrap();
    let json = serde_json::to_string(&encoder).unwrap();
    assert_eq!(serde_json::from_str::<MetadataEncoder>(&json).unwrap(), encoder);

    let set = CaseSet { fields, cases, ..case_set(&[]) };
    let cohort = set.cohort(&[1, 0], &encoder).unwrap();
    assert_eq!(cohort.metadata.dim(), (2, 20));
    assert_eq!(cohort.has_metadata, [false, true]);
    assert_eq!(cohort.metadata.row(0).sum(), 0.0);
    assert_eq!(cohort.metadata.row(1).sum(), 5.0);
    let none = MetadataEncoder::none(&set.fields);
    assert_eq!(set.cohort(&[0], &none).unwrap().metadata.dim(), (1, 0));
    let text = case_set(&[]).check().unwrap_err().to_string();
    assert_eq!(text, "the case set `test` has no cases");
}
