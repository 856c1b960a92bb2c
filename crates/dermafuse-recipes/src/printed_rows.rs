//! Which printed table stands beside results, where several print the same methods.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use dermafuse_backbones::BackboneKind;
use dermafuse_eval::published::{PublishedRow, PublishedTable};
use dermafuse_networks::NetworkConfig;

/// A method of which printed numbers are asked.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// The name of the row here.
    pub(crate) name: &'a str,
    /// The names that it may have in tables, the one that fits best first.
    pub(crate) printed: Vec<String>,
}

impl<'a> Wanted<'a> {
    /// A method that tables call what we call it.
    pub(crate) fn named(name: &'a str) -> Self {
        Self { name, printed: vec![name.to_owned()] }
    }

    fn row_of(&self, table: &PublishedTable) -> Option<PublishedRow> {
        let row = self.printed.iter().find_map(|name| table.row(name))?;
        Some(PublishedRow { name: self.name.to_owned(), ..row.clone() })
    }
}

/// The only backbone of a network; `None` where there are several, or none.
pub(crate) fn only_backbone(network: &NetworkConfig) -> Option<BackboneKind> {
    match network.backbones()[..] {
        [backbone] => Some(backbone),
        _ => None,
    }
}

/// The names that a row may have in tables: with its backbone, such as `JF-CAT resnet50`, where they print one row for each, and
/// alone.
pub(crate) fn names_in_tables(row: &str, network: &NetworkConfig) -> Vec<String> {
    let with_backbone = only_backbone(network).map(|backbone| format!("{row} {backbone}"));
    with_backbone.into_iter().chain([row.to_owned()]).collect()
}

/// The printed rows of methods on a data set, under the names that the methods have here. They are of the table that prints most
/// of the methods; among several of one of repeated runs, and then of the first. Methods that it lacks are taken from tables of the
/// same protocol and number of runs, and the source then names these too. A table of another protocol is never mixed in.
pub(crate) fn printed_rows(tables: &[PublishedTable], data: &str, wanted: &[Wanted<'_>]) -> Option<PublishedTable> {
    let fits = || tables.iter().filter(|table| table.data == data);
    let found = |table: &PublishedTable| wanted.iter().filter(|method| method.row_of(table).is_some()).count();
    let repeated = |table: &PublishedTable| table.runs.is_some_and(|runs| runs > 1);
    // The first of equals: `max_by_key` gives the last.
    let ranked = fits().enumerate().max_by_key(|(place, table)| (found(table), repeated(table), Reverse(*place)));
    let best = ranked.map(|(_, table)| table).filter(|table| found(table) > 0)?;

    let mut all =
        PublishedTable { rows: wanted.iter().filter_map(|method| method.row_of(best)).collect(), ..best.clone() };
    for table in fits().filter(|table| table.protocol == best.protocol && table.runs == best.runs) {
        let missing = wanted.iter().filter(|method| all.row(method.name).is_none());
        let rows: Vec<PublishedRow> = missing.filter_map(|method| method.row_of(table)).collect();
        if !rows.is_empty() {
            all = joined(all, &PublishedTable { rows, ..table.clone() });
        }
    }
    Some(all)
}

/// The printed row of a method on the backbone of its network alone, in a table of one row; `None` where tables have no row for
/// each backbone, or none for this one.
pub(crate) fn row_of_backbone(
    tables: &[PublishedTable],
    data: &str,
    row: &str,
    network: &NetworkConfig,
) -> Option<PublishedTable> {
    let with_backbone = format!("{row} {}", only_backbone(network)?);
    printed_rows(tables, data, &[Wanted { name: row, printed: vec![with_backbone] }])
}

/// Two tables as one, whose source names both. Tests are of the methods of one table, and fall away.
pub(crate) fn joined(first: PublishedTable, second: &PublishedTable) -> PublishedTable {
    let with = |one: String, other: &str| match one.split("; ").any(|part| part == other) || one == other {
        true => one,
        false => format!("{one}; {other}"),
    };
    let mut rows = first.rows;
    rows.extend(second.rows.iter().cloned());
    PublishedTable {
        source: with(first.source, &second.source),
        protocol: with(first.protocol, &second.protocol),
        runs: first.runs.filter(|_| first.runs == second.runs),
        data: first.data,
        friedman_p: None,
        wilcoxon: BTreeMap::new(),
        note: None,
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dermafuse_networks::{AsymmetricFusionConfig, ImageClassifierConfig};
    use dermafuse_schema::Modality;

    fn table(source: &str, protocol: &str, runs: u32, rows: &[(&str, f64)]) -> PublishedTable {
        let row = |(name, accuracy): &(&str, f64)| PublishedRow {
            name: (*name).into(),
            accuracy: Some((*accuracy).into()),
            ..PublishedRow::default()
        };
        PublishedTable {
            source: source.into(),
            data: "derm7pt".into(),
            protocol: protocol.into(),
            runs: Some(runs),
            friedman_p: Some(0.01),
            rows: rows.iter().map(row).collect(),
            ..PublishedTable::default()
        }
    }

    fn tables() -> [PublishedTable; 4] {
        [
            table("Table 1", "single", 1, &[("A", 10.0), ("B", 11.0)]),
            table("Table 2", "repeated", 5, &[("A", 20.0), ("C", 22.0)]),
            table("Table 3", "repeated", 5, &[("A", 30.0), ("B", 31.0), ("C on x", 32.0), ("E", 33.0)]),
            table("Table 4", "other", 5, &[("D", 40.0)]),
        ]
    }

    fn shown(wanted: &[Wanted<'_>]) -> (String, Option<f64>, Vec<(String, f64)>) {
        let found = printed_rows(&tables(), "derm7pt", wanted).unwrap();
        let rows = found.rows.iter().map(|row| (row.name.clone(), row.accuracy.unwrap().mean)).collect();
        (found.source, found.friedman_p, rows)
    }

    #[test]
    fn the_table_of_most_methods_is_shown_and_one_of_repeated_runs_before_one_of_a_single() {
        let a = ("A".to_owned(), 20.0);
        assert_eq!(shown(&[Wanted::named("A")]), ("Table 2".to_owned(), Some(0.01), vec![a]));
        let both = vec![("A".to_owned(), 30.0), ("B".to_owned(), 31.0)];
        assert_eq!(shown(&[Wanted::named("A"), Wanted::named("B")]), ("Table 3".to_owned(), Some(0.01), both));
        assert_eq!(printed_rows(&tables(), "derm7pt", &[Wanted::named("F")]), None);
        assert_eq!(printed_rows(&tables(), "milk10k", &[Wanted::named("A")]), None);
    }

    #[test]
    fn a_method_that_the_table_lacks_is_of_one_of_the_same_protocol_alone() {
        let wanted = ["A", "B", "C", "D", "E"].map(Wanted::named);
        let rows =
            [("A", 30.0), ("B", 31.0), ("E", 33.0), ("C", 22.0)].map(|(name, score)| (name.to_owned(), score)).to_vec();
        assert_eq!(shown(&wanted), ("Table 3; Table 2".to_owned(), None, rows));
    }

    #[test]
    fn a_number_of_a_backbone_is_of_it_alone() {
        let recipe = crate::Recipe::shipped("jif").unwrap();
        let printed = |backbone| {
            let config = ImageClassifierConfig::new(backbone, Modality::Clinical, vec![6]);
            let network = NetworkConfig::ImageClassifier(config);
            let table = row_of_backbone(recipe.published(), "pad-ufes-20", "JF-CAT", &network)?;
            assert_eq!((table.source.as_str(), table.rows.len()), ("Tang et al., thesis Table 4.1", 1));
            Some(table.row("JF-CAT")?.balanced_accuracy?.to_string())
        };
        assert_eq!(printed(BackboneKind::DenseNet121).unwrap(), "73.8 ± 1.4");
        assert_eq!(printed(BackboneKind::EfficientNetB3).unwrap(), "76.8 ± 1.4");
        // Not the mean of five others.
        assert_eq!(printed(BackboneKind::ResNet18), None);
        let pair = NetworkConfig::AsymmetricFusion(AsymmetricFusionConfig::ammfm(vec![6]));
        assert_eq!(row_of_backbone(recipe.published(), "pad-ufes-20", "JF-CAT", &pair), None);
    }

    #[test]
    fn the_name_that_fits_best_is_looked_for_first() {
        let wanted = Wanted { name: "ours", printed: vec!["C on x".into(), "C".into()] };
        assert_eq!(shown(&[wanted]), ("Table 2".to_owned(), Some(0.01), vec![("ours".to_owned(), 22.0)]));
        let wanted = [Wanted { name: "ours", printed: vec!["C on x".into(), "C".into()] }, Wanted::named("B")];
        assert_eq!(shown(&wanted).2, [("ours".to_owned(), 32.0), ("B".to_owned(), 31.0)]);
    }
}
