use dermafuse_data::{
    CaseSet, CategorySource, EncoderConfig, MetadataEncoder, MetadataRoles, MissingFields, NumericScaling,
    UnseenCategory, derm7pt, milk10k,
};
use dermafuse_schema::{Case, Field, FieldKind, FieldRole, FieldValue};
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
    let ones: Vec<usize> = encoder
        .matched(&fields)
        .unwrap()
        .encode(&case)
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(_, v)| **v == 1.0)
        .map(|(at, _)| at)
        .collect();
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
    assert_eq!(encoder.matched(&fields).unwrap().encode(&case(90.0)).unwrap(), [0.0]);
    // A mean of numbers that are no binary fractions is rounded, and is not their value.
    let constant = vec![case(5.3); 100];
    let encoder = MetadataEncoder::fit(&fields, &constant, MetadataRoles::default()).unwrap();
    assert_eq!([5.3, 10.0].map(|age| encoder.matched(&fields).unwrap().encode(&case(age)).unwrap()), [[0.0], [0.0]]);
    let unseen = MetadataEncoder::fit(&fields, &[with_metadata(vec![FieldValue::Missing])], MetadataRoles::default());
    assert_eq!(unseen.unwrap().matched(&fields).unwrap().encode(&case(90.0)).unwrap(), [0.0]);
}

#[test]
fn cases_that_do_not_fit_are_named() {
    let fields = derm7pt::fields();
    let good = with_metadata(vec![FieldValue::Category(0); 5]);
    let encoder = MetadataEncoder::fit(&fields, [&good], MetadataRoles::All).unwrap();
    let error = |metadata| encoder.matched(&fields).unwrap().encode(&with_metadata(metadata)).unwrap_err().to_string();
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
    let cohort = set.view(&[1, 0]).unwrap().cohort(&encoder).unwrap();
    assert_eq!(cohort.metadata.dim(), (2, 20));
    assert_eq!(cohort.has_metadata, [false, true]);
    assert_eq!(cohort.metadata.row(0).sum(), 0.0);
    assert_eq!(cohort.metadata.row(1).sum(), 5.0);
    let none = MetadataEncoder::none();
    assert_eq!(set.view(&[0]).unwrap().cohort(&none).unwrap().metadata.dim(), (1, 0));
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
    let encode = |age, site| encoder.matched(&two_fields()).unwrap().encode(&age_and_site(age, site)).unwrap();
    assert_eq!(encode(Some(90.0), Some(3)), [90.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(encode(None, None), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    // Raw does not depend on the training cases, not even on whether they know any age.
    let config = EncoderConfig { numeric: NumericScaling::Raw, ..EncoderConfig::default() };
    let blind = MetadataEncoder::fit(&two_fields(), [&training[1]], config).unwrap();
    assert_eq!(
        blind.matched(&two_fields()).unwrap().encode(&age_and_site(Some(-3.5), None)).unwrap(),
        [-3.5, 0.0, 0.0, 0.0, 0.0]
    );
}

#[test]
fn only_observed_categories_may_get_a_column() {
    // In the order of the declaration, not of the cases.
    let training = [age_and_site(None, Some(3)), age_and_site(None, Some(1)), age_and_site(None, None)];
    let fit = |unseen| {
        let config = EncoderConfig { categories: CategorySource::Observed, unseen, ..EncoderConfig::default() };
        MetadataEncoder::fit(&two_fields(), &training, config).unwrap()
    };
    let strict = fit(UnseenCategory::Refuse);
    assert_eq!(strict.column_names(), ["age", "site=back", "site=foot"]);
    assert_eq!(strict.matched(&two_fields()).unwrap().encode(&age_and_site(None, Some(3))).unwrap(), [0.0, 0.0, 1.0]);
    assert_eq!(strict.matched(&two_fields()).unwrap().encode(&age_and_site(None, None)).unwrap(), [0.0; 3]);
    assert_eq!(
        strict.matched(&two_fields()).unwrap().encode(&age_and_site(None, Some(2))).unwrap_err().to_string(),
        "case `0`: field `site`: no training case had `chest`; known: back, foot; train on cases that have it, declare \
         the categories, or let unseen ones count as missing"
    );
    let error = strict.matched(&two_fields()).unwrap().encode(&age_and_site(None, Some(4))).unwrap_err().to_string();
    assert_eq!(error, "case `0`: field `site`: expected a category below 4, found Category(4)");
    let lenient = fit(UnseenCategory::Missing);
    assert_eq!(lenient.matched(&two_fields()).unwrap().encode(&age_and_site(None, Some(2))).unwrap(), [0.0; 3]);
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
    let case = with_metadata(vec![FieldValue::Number(60.0)]);
    let fields = [Field::numeric("age", FieldRole::PreDiagnosis)];
    assert_eq!(encoder.matched(&fields).unwrap().encode(&case).unwrap(), [2.0]);
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
            true => CategorySource::Observed,
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
        let fields = two_fields();
        let encode = |encoder: &MetadataEncoder| encoder.matched(&fields).unwrap().encode(&cases[0]).unwrap();
        prop_assert_eq!(encode(&encoder), encode(&again));
    }
}

/// A record of a named field and a named category, told to an encoder by fields of any order.
fn record(fields: &[Field], values: &[(&str, &str)]) -> Case {
    let value = |field: &Field| match (values.iter().find(|(name, _)| field.name == *name), &field.kind) {
        (None, _) => FieldValue::Missing,
        (Some((_, text)), FieldKind::Numeric) => FieldValue::Number(text.parse().unwrap()),
        (Some((_, text)), FieldKind::Categorical { categories }) => {
            FieldValue::Category(categories.iter().position(|category| category == text).unwrap())
        }
    };
    with_metadata(fields.iter().map(value).collect())
}

proptest! {
    /// In another order, among other fields, with categories numbered otherwise and more of them: the same numbers.
    #[test]
    fn the_table_around_a_case_changes_nothing(
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
        sites in Just(vec!["arm", "back", "chest", "foot", "hand", "scalp"]).prop_shuffle(),
        age in 0_u32..100,
        site in proptest::sample::select(vec!["arm", "back", "chest", "foot"]),
        observed in any::<bool>(),
        missing_indicators in any::<bool>(),
    ) {
        let categories = if observed { CategorySource::Observed } else { CategorySource::Declared };
        let config = EncoderConfig { categories, missing_indicators, ..EncoderConfig::default() };
        let training = [age_and_site(Some(40.0), Some(0)), age_and_site(Some(50.0), Some(2)), age_and_site(None, Some(3))];
        let encoder = MetadataEncoder::fit(&two_fields(), &training, config).unwrap();
        let age = age.to_string();
        let values = [("age", age.as_str()), ("site", site)];
        let expected = encoder.matched(&two_fields()).unwrap().encode(&record(&two_fields(), &values)).unwrap();

        let others = [
            Field::numeric("age", FieldRole::PreDiagnosis),
            Field::categorical("site", FieldRole::PreDiagnosis, sites),
            Field::numeric("diameter", FieldRole::PreDiagnosis),
            Field::categorical("sex", FieldRole::PreDiagnosis, ["f", "m"]),
        ];
        let fields: Vec<Field> = order.iter().map(|&place| others[place].clone()).collect();
        let case = record(&fields, &[values[0], values[1], ("diameter", "7"), ("sex", "m")]);
        prop_assert_eq!(encoder.matched(&fields).unwrap().encode(&case).unwrap(), expected);
    }
}

#[test]
fn fields_are_refused_by_name_and_unknown_categories_are_counted() {
    let training = [age_and_site(Some(40.0), Some(0)), age_and_site(Some(60.0), Some(1))];
    let encoder = MetadataEncoder::fit(&two_fields(), &training, EncoderConfig::default()).unwrap();
    let [age, site] = two_fields();
    let error = |fields: &[Field]| encoder.matched(fields).unwrap_err().to_string();
    assert_eq!(
        error(&[site.clone(), Field::numeric("Age", FieldRole::PreDiagnosis)]),
        "the set has no field `age`, which the model uses; it has site, Age; rename the field, or set `missing_fields = \
         \"allow\"` to let it count as not recorded"
    );
    let words = Field::categorical("age", FieldRole::PreDiagnosis, ["young", "old"]);
    assert!(
        error(&[words, site.clone()]).starts_with("field `age` holds categories in this set, the model learnt it as")
    );
    assert!(error(&[age.clone(), site.clone(), age.clone()]).starts_with("field `age` appears twice"));

    // Without the field: as if no case had recorded it, and said.
    let allowed = encoder.clone().with_missing_fields(MissingFields::Allow);
    let fields = [site.clone()];
    let matched = allowed.matched(&fields).unwrap();
    let case = with_metadata(vec![FieldValue::Category(3)]);
    let expected = encoder.matched(&two_fields()).unwrap().encode(&age_and_site(None, Some(3))).unwrap();
    assert_eq!(matched.encode(&case).unwrap(), expected);
    assert_eq!(
        matched.notes([&case]).unwrap(),
        ["The set has no field `age`, which the model uses: it counts as not recorded."]
    );

    // A category that the training set did not list.
    let wider = Field::categorical("site", FieldRole::PreDiagnosis, ["ear", "arm"]);
    let set = CaseSet {
        fields: vec![wider, age],
        cases: [0, 1, 0].map(|site| with_metadata(vec![FieldValue::Category(site), FieldValue::Missing])).to_vec(),
        ..case_set(&[])
    };
    let metadata = set.view(&[0, 1]).unwrap().encoded_metadata(&encoder).unwrap();
    assert_eq!((metadata.row(0).sum(), metadata.row(1).sum()), (0.0, 1.0));
    let matched = encoder.matched(&set.fields).unwrap();
    assert_eq!([0, 1].map(|row| matched.has_metadata(&set.cases[row]).unwrap()), [false, true]);
    assert_eq!(
        encoder.notes(&set.view(&[0, 1, 2]).unwrap()).unwrap(),
        ["2 of 3 cases have `site` = `ear`, which the model never saw: it counts as not recorded."]
    );
    let config = EncoderConfig { unseen: UnseenCategory::Refuse, ..EncoderConfig::default() };
    let strict = MetadataEncoder::fit(&two_fields(), &training, config).unwrap();
    assert!(
        set.view(&[0])
            .unwrap()
            .encoded_metadata(&strict)
            .unwrap_err()
            .to_string()
            .contains("no training case had `ear`")
    );
}

#[test]
fn an_encoder_is_checked_as_it_is_read() {
    let fields = [Field::categorical("site", FieldRole::PreDiagnosis, ["arm", "back"]), two_fields()[0].clone()];
    let training = [with_metadata(vec![FieldValue::Category(1), FieldValue::Number(3.0)])];
    let config = EncoderConfig { categories: CategorySource::Observed, ..EncoderConfig::default() };
    let json = serde_json::to_string(&MetadataEncoder::fit(&fields, &training, config).unwrap()).unwrap();
    let error = |from: &str, to: &str| {
        assert!(json.contains(from), "{json}");
        serde_json::from_str::<MetadataEncoder>(&json.replace(from, to)).unwrap_err().to_string()
    };
    assert!(error("[1]", "[99]").contains("field `site`: observed category is 99, it must be below its 2 categories"));
    assert!(error("[1]", "[1,0]").contains("observed category is 0 after 1, it must be rising"));
    assert!(error("[1]", "[-1]").contains("invalid value"));
    assert!(error("\"arm\"", "\"back\"").contains("category is `back` twice"));
    assert!(error("\"age\"", "\"site\"").contains("field `site` appears twice"));
    assert!(error("\"mean\":3.0", "\"mean\":1e999").contains("out of range"));
    assert!(error("\"deviation\":0.0", "\"deviation\":-1.0").contains("deviation is -1"));
    // Written when fields were known by their places.
    let old = |fields: &str, index: &str| {
        let json = format!(
            r#"{{"columns":[{{"index":{index},"field":{{"name":"age","kind":"numeric","role":"pre_diagnosis"}},"mean":4.0,
            "deviation":1.0}}],"fields":{fields}}}"#
        );
        serde_json::from_str::<MetadataEncoder>(&json).map_err(|error| error.to_string())
    };
    assert!(old("2", "1").is_ok());
    assert!(old("2", "99").unwrap_err().contains("`index` of a column of the metadata encoder: 99 is not below its"));
    assert!(old("1000000000000", "1").unwrap_err().contains("`fields` of the metadata encoder: 1000000000000"));
}
