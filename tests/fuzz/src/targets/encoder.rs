//! Encoders of metadata, as they lie in the description of a model.

use std::path::Path;

use dermafuse::data::{
    CaseSet, CategorySource, EncoderConfig, MetadataEncoder, MetadataRoles, MissingFields, NumericScaling,
};

use super::{Target, Verdict, accepted, promise, sample};
use crate::mutate::{Corpus, Syntax};

struct Encoders {
    corpus: Corpus,
    set: CaseSet,
}

const WORDS: [&str; 16] = [
    "sex",
    "age",
    "female",
    "male",
    "numeric",
    "categorical",
    "pre_diagnosis",
    "post_diagnosis",
    "provenance",
    "observed",
    "declared",
    "raw",
    "standardized",
    "allow",
    "index",
    "fields",
];

pub(super) fn target(_scratch: &Path) -> Box<dyn Target> {
    let set = sample::set();
    let configs = [
        EncoderConfig::default(),
        EncoderConfig { missing_fields: MissingFields::Allow, missing_indicators: true, ..EncoderConfig::default() },
        EncoderConfig {
            roles: MetadataRoles::All,
            categories: CategorySource::Observed,
            numeric: NumericScaling::Raw,
            ..EncoderConfig::default()
        },
    ];
    let entries = configs.into_iter().map(|config| {
        let encoder = MetadataEncoder::fit(&set.fields, &set.cases, config).expect("fields with names");
        serde_json::to_vec(&encoder).expect("an encoder has string keys")
    });
    let corpus = Corpus { syntax: Syntax::Json, entries: entries.collect(), words: &WORDS, make: None };
    Box::new(Encoders { corpus, set })
}

impl Target for Encoders {
    fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    fn run(&mut self, input: &[u8]) -> Result<Verdict, String> {
        let encoder: MetadataEncoder = accepted!(serde_json::from_slice(input));
        let width = encoder.width();
        promise!(encoder.column_names().len() == width, "{} names of {width} columns", encoder.column_names().len());
        let text = serde_json::to_string(&encoder).map_err(|error| error.to_string())?;
        let again: MetadataEncoder = serde_json::from_str(&text).map_err(|error| format!("not read again: {error}"))?;
        promise!(again == encoder, "another encoder when it is read again");
        let matched = accepted!(encoder.matched(&self.set.fields));
        for case in &self.set.cases {
            let encoded = accepted!(matched.encode(case));
            promise!(encoded.len() == width, "{} numbers of {width}", encoded.len());
        }
        let cohort = accepted!(self.set.view(sample::rows()).and_then(|cases| cases.cohort(&encoder)));
        promise!(cohort.metadata.dim() == (self.set.len(), width), "metadata {:?}", cohort.metadata.dim());
        let notes = encoder.notes(&self.set.view(sample::rows()).expect("rows of the set"));
        promise!(notes.is_ok(), "cases are encoded, but no notes made: {notes:?}");
        Ok(Verdict::Accepted)
    }
}
