use dermafuse_data::{
    CaseSet, CategorySource, EncoderConfig, MetadataEncoder, MetadataRoles, NumericScaling, UnseenCategory, derm7pt,
    milk10k,
};
use dermafuse_schema::{Case, Field, FieldRole, FieldValue};
use proptest::prelude::*;

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
    // A mean of numbers that are no binary fractions is rounded, and is not their value.
    let constant = vec![case(5.3); 100];
    let encoder = MetadataEncoder::fit(&fields, &constant, MetadataRoles::default()).unwrap();
    assert_eq!([5.3, 10.0].map(|age| encoder.encode(&case(age)).unwrap()), [[0.0], [0.0]]);
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

/// Age and one of four sites.
fn two_fields() -> [Field; 2] {
    [
        Field::numeric("age", FieldRole::PreDiagnosis),
        Field::categorical("site", FieldRole::PreDiagnosis, ["arm", "back", "chest", "foot"]),
    ]
}

fn age_and_site(age: Option<f64>, site: Option<usize>) -> Case {
    let age = age.map_or(FieldValue::Missing, FieldValue::Number);
    with_metadata(vec![age, site.map_or(FieldValue::Missing, FieldValue::Category)])
}

#[test]
fn numbers_may_stay_as_they_are_and_missing_ones_be_told() {
    let training = [age_and_site(Some(40.0), Some(0)), age_and_site(None, None)];
    let config = EncoderConfig { numeric: NumericScaling::Raw, missing_indicators: true, ..EncoderConfig::default() };
    let encoder = MetadataEncoder::fit(&two_fields(), &training, config).unwrap();
    assert_eq!(*encoder.config(), config);
    let names = encoder.column_names();
    assert_eq!(names, ["age", "age:missing", "site=arm", "site=back", "site=chest", "site=foot", "site:missing"]);
    assert_eq!(encoder.width(), 7);
    let encode = |age, site| encoder.encode(&age_and_site(age, site)).unwrap();
    assert_eq!(encode(Some(90.0), Some(3)), [90.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(encode(None, None), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    // Raw does not depend on the training cases, not even on whether they know any age.
    let config = EncoderConfig { numeric: NumericScaling::Raw, ..EncoderConfig::default() };
    let blind = MetadataEncoder::fit(&two_fields(), [&training[1]], config).unwrap();
    assert_eq!(blind.encode(&age_and_site(Some(-3.5), None)).unwrap(), [-3.5, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn only_observed_categories_may_get_a_column() {
    // In the order of the declaration, not of the cases.
    let training = [age_and_site(None, Some(3)), age_and_site(None, Some(1)), age_and_site(None, None)];
    let fit = |unseen| {
        let config = EncoderConfig { categories: CategorySource::Observed { unseen }, ..EncoderConfig::default() };
        MetadataEncoder::fit(&two_fields(), &training, config).unwrap()
    };
    let strict = fit(UnseenCategory::Refuse);
    assert_eq!(strict.column_names(), ["age", "site=back", "site=foot"]);
    assert_eq!(strict.encode(&age_and_site(None, Some(3))).unwrap(), [0.0, 0.0, 1.0]);
    assert_eq!(strict.encode(&age_and_site(None, None)).unwrap(), [0.0; 3]);
    assert_eq!(
        strict.encode(&age_and_site(None, Some(2))).unwrap_err().to_string(),
        "case `0`: field `site`: no training case had `chest`; known: back, foot; train on cases that have it, declare \
         the categories, or let unseen ones be zeros"
    );
    let error = strict.encode(&age_and_site(None, Some(4))).unwrap_err().to_string();
    assert_eq!(error, "case `0`: field `site`: expected a category below 4, found Category(4)");
    let lenient = fit(UnseenCategory::Zeros);
    assert_eq!(lenient.encode(&age_and_site(None, Some(2))).unwrap(), [0.0; 3]);
    for encoder in [strict, lenient] {
        let json = serde_json::to_string(&encoder).unwrap();
        assert_eq!(serde_json::from_str::<MetadataEncoder>(&json).unwrap(), encoder);
    }
}

#[test]
fn an_encoder_that_was_saved_without_options_is_read_with_the_defaults() {
    let json = r#"{"columns":[{"index":1,"field":{"name":"age","kind":"numeric","role":"pre_diagnosis"},"mean":40.0,
        "deviation":10.0}],"fields":2}"#;
    let encoder: MetadataEncoder = serde_json::from_str(json).unwrap();
    assert_eq!(*encoder.config(), EncoderConfig::default());
    let case = with_metadata(vec![FieldValue::Missing, FieldValue::Number(60.0)]);
    assert_eq!(encoder.encode(&case).unwrap(), [2.0]);
}

proptest! {
    /// Whatever the other rows hold, the encoder of the training rows is the same, to the bit.
    #[test]
    fn only_the_training_rows_decide(
        rows in proptest::collection::vec(
            (proptest::option::of(-1e6_f64..1e6), proptest::option::of(0_usize..4), any::<bool>()), 2..40),
        others in proptest::collection::vec(
            (proptest::option::of(-1e9_f64..1e9), proptest::option::of(0_usize..4)), 40),
        observed in any::<bool>(),
        missing_indicators in any::<bool>(),
    ) {
        let categories = match observed {
            true => CategorySource::Observed { unseen: UnseenCategory::Zeros },
            false => CategorySource::Declared,
        };
        let config = EncoderConfig { categories, missing_indicators, ..EncoderConfig::default() };
        let case = |(age, site): (Option<f64>, Option<usize>)| age_and_site(age, site);
        let cases: Vec<Case> = rows.iter().map(|&(age, site, _)| case((age, site))).collect();
        let changed: Vec<Case> = rows
            .iter()
            .zip(&others)
            .map(|(&(age, site, training), &other)| case(if training { (age, site) } else { other }))
            .collect();
        let fit = |cases: &[Case]| {
            let training = cases.iter().zip(&rows).filter(|(_, row)| row.2).map(|(case, _)| case);
            MetadataEncoder::fit(&two_fields(), training, config).unwrap()
        };
        let (encoder, again) = (fit(&cases), fit(&changed));
        prop_assert_eq!(&encoder, &again);
        prop_assert_eq!(encoder.encode(&cases[0]).unwrap(), again.encode(&cases[0]).unwrap());
    }
}
