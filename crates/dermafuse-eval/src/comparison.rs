use std::fmt;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::significance::{Friedman, Nemenyi, WilcoxonSignedRank, holm};
use crate::{EvalError, MeanDeviation};
use dermafuse_schema::SchemaError;

/// Level of significance unless another is asked for.
const LEVEL: f64 = 0.05;

/// Several methods measured on the same blocks (folds, seeds, backbones, data sets), and whether they differ.
///
/// Prints as a plain text table; [`Report::comparison`](crate::Report::comparison) draws it.
///
/// ```
/// use dermafuse_eval::Comparison;
/// use dermafuse_schema::ndarray::array;
///
/// let scores = array![[70.1, 74.0, 76.2], [68.4, 74.9, 77.3], [69.0, 73.1, 75.0], [71.2, 73.8, 77.9]];
/// let folds = ["fold 1", "fold 2", "fold 3", "fold 4"];
/// let comparison = Comparison::of(&["Image", "JF-MMFA", "JIF-MMFA(All)"], &folds, &scores)?;
/// assert_eq!(comparison.methods[2].scores.to_string(), "76.6 ± 1.1");
/// assert!(comparison.friedman.p < 0.05);
/// println!("{comparison}");
/// # Ok::<(), dermafuse_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Names of the blocks, such as `fold 1`.
    pub blocks: Vec<String>,
    /// The methods, in the order given.
    pub methods: Vec<ComparedMethod>,
    /// Level of significance of [`ComparedPair::differs`] and of the critical difference.
    pub level: f64,
    /// Whether any method differs.
    pub friedman: Friedman,
    /// Which methods differ, by their mean ranks.
    pub nemenyi: Nemenyi,
    /// All pairs of methods: first with second, first with third and so on.
    pub pairs: Vec<ComparedPair>,
}

/// One method of a [`Comparison`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedMethod {
    /// Name of the method.
    pub name: String,
    /// `[n]` its score on each block.
    pub of_blocks: Vec<f64>,
    /// Mean and standard deviation over the blocks.
    pub scores: MeanDeviation,
    /// Mean rank within the blocks, 1 is the best.
    pub mean_rank: f64,
}

/// Two methods of a [`Comparison`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparedPair {
    /// Position of the first method.
    pub first: usize,
    /// Position of the second method.
    pub second: usize,
    /// Whether the two differ, taken alone.
    pub wilcoxon: WilcoxonSignedRank,
    /// The p-value of `wilcoxon`, adjusted for all pairs being tested (Holm).
    pub holm: f64,
    /// The p-value of Nemenyi's test.
    pub nemenyi: f64,
    /// Whether `holm` is at most the level.
    pub differs: bool,
}

impl Comparison {
    /// Compares `[n, k]` scores, one row for each block and one column for each method, at the level 0.05.
    ///
    /// Greater is better: give a loss with its sign changed. Give per cent to print per cent.
    ///
    /// # Errors
    /// Names that are not as many as rows or columns, fewer than two methods or blocks, a score that is not finite.
    pub fn of<S: AsRef<str>>(methods: &[S], blocks: &[S], scores: &Array2<f64>) -> Result<Self, EvalError> {
        Self::at_level(methods, blocks, scores, LEVEL)
    }

    /// As [`Comparison::of`], at another level of significance.
    ///
    /// # Errors
    /// As [`Comparison::of`]; a level that is not between 0 and 1.
    pub fn at_level<S: AsRef<str>>(
        methods: &[S],
        blocks: &[S],
        scores: &Array2<f64>,
        level: f64,
    ) -> Result<Self, EvalError> {
        let expected = vec![blocks.len(), methods.len()];
        if scores.shape() != expected {
            let (what, found) = ("scores of blocks and methods".into(), scores.shape().to_vec());
            return Err(SchemaError::Shape { what, expected, found }.into());
        }
        let friedman = Friedman::of(&scores.view())?;
        let nemenyi = Nemenyi::of(&friedman.mean_ranks, friedman.blocks, level)?;
        let of_methods: Vec<Vec<f64>> = scores.columns().into_iter().map(|column| column.to_vec()).collect();
        let methods = methods.iter().zip(&of_methods).zip(&friedman.mean_ranks).filter_map(|((name, scores), rank)| {
            Some(ComparedMethod {
                name: name.as_ref().into(),
                of_blocks: scores.clone(),
                scores: MeanDeviation::of(scores)?,
                mean_rank: *rank,
            })
        });
        Ok(Self {
            blocks: blocks.iter().map(|name| name.as_ref().into()).collect(),
            methods: methods.collect(),
            level,
            pairs: pairs(&of_methods, &nemenyi, level)?,
            friedman,
            nemenyi,
        })
    }

    /// The pair of two methods by position, whichever comes first.
    #[must_use]
    pub fn pair(&self, first: usize, second: usize) -> Option<&ComparedPair> {
        let wanted = (first.min(second), first.max(second));
        self.pairs.iter().find(|pair| (pair.first, pair.second) == wanted)
    }

    /// `JF-CAT – JF-MB`.
    pub(crate) fn name_of(&self, pair: &ComparedPair) -> String {
        let name = |method: usize| self.methods.get(method).map_or("?", |method| &method.name);
        format!("{} – {}", name(pair.first), name(pair.second))
    }
}

fn pairs(of_methods: &[Vec<f64>], nemenyi: &Nemenyi, level: f64) -> Result<Vec<ComparedPair>, EvalError> {
    let k = of_methods.len();
    let places: Vec<(usize, usize)> =
        (0..k).flat_map(|first| (first + 1..k).map(move |second| (first, second))).collect();
    let tests: Vec<WilcoxonSignedRank> = places
        .iter()
        .map(|&(first, second)| WilcoxonSignedRank::of(&of_methods[first], &of_methods[second]))
        .collect::<Result<_, _>>()?;
    let adjusted = holm(&tests.iter().map(|test| test.p).collect::<Vec<_>>())?;
    let pairs = places.into_iter().zip(tests).zip(adjusted).map(|(((first, second), wilcoxon), holm)| ComparedPair {
        first,
        second,
        wilcoxon,
        holm,
        nemenyi: nemenyi.p[first][second],
        differs: holm <= level,
    });
    Ok(pairs.collect())
}

/// A p-value to three digits; what is too small for decimals has an exponent.
#[must_use]
pub fn p_text(p: f64) -> String {
    if p < 0.001 { format!("{p:.2e}") } else { format!("{p:.3}") }
}

impl fmt::Display for Comparison {
    /// Three tables as text: methods, the tests of all of them, pairs with an asterisk where they differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods = self.methods.iter().map(|method| {
            let rank = format!("{:.2}", method.mean_rank);
            vec![method.name.clone(), method.scores.to_string(), rank]
        });
        let head = ["method", "mean ± std", "mean rank"].map(str::to_owned);
        write_table(f, &head, &methods.collect::<Vec<_>>())?;
        let Friedman { statistic, degrees_of_freedom, p, .. } = &self.friedman;
        let (k, n, level) = (self.methods.len(), self.blocks.len(), self.level);
        let p = p_text(*p);
        writeln!(
            f,
            "\nFriedman: χ² = {statistic:.2}, {degrees_of_freedom} degrees of freedom, p = {p} ({k} methods, {n} blocks)"
        )?;
        let difference = self.nemenyi.critical_difference;
        writeln!(f, "Nemenyi: mean ranks {difference:.2} apart differ at {level}\n")?;
        let pairs = self.pairs.iter().map(|pair| {
            let mark = if pair.differs { " *" } else { "" };
            let holm = format!("{}{mark}", p_text(pair.holm));
            let statistic = pair.wilcoxon.statistic.to_string();
            vec![self.name_of(pair), statistic, p_text(pair.wilcoxon.p), holm, p_text(pair.nemenyi)]
        });
        let head = ["pair", "W", "p (Wilcoxon)", "p (Holm)", "p (Nemenyi)"].map(str::to_owned);
        write_table(f, &head, &pairs.collect::<Vec<_>>())
    }
}

/// Columns as wide as their widest cell, the first to the left, the others to the right.
pub(crate) fn write_table(f: &mut fmt::Formatter<'_>, head: &[String], rows: &[Vec<String>]) -> fmt::Result {
    let lines = || std::iter::once(head).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in lines() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn blocks(n: usize) -> Vec<String> {
        (1..=n).map(|block| format!("fold {block}")).collect()
    }

    fn compared() -> Comparison {
        let scores = Array2::from_shape_fn((10, 3), |(block, method)| {
            70.0 + (block * 7 % 10) as f64 / 10.0 + [0.0, 0.05, 3.0][method] + (block * 3 % 4 * method) as f64 / 100.0
        });
        Comparison::of(&["CAT", "MB", "MMFA"].map(String::from), &blocks(10), &scores).unwrap()
    }

    #[test]
    fn everything_is_tested_on_the_same_scores() {
        let comparison = compared();
        let column = |method: usize| comparison.methods[method].of_blocks.clone();
        assert_eq!(comparison.friedman.mean_ranks, [3.0, 2.0, 1.0]);
        assert_eq!(comparison.methods[1].mean_rank, 2.0);
        assert_eq!(comparison.methods[2].scores, MeanDeviation::of(&column(2)).unwrap());
        let pairs: Vec<(usize, usize)> = comparison.pairs.iter().map(|pair| (pair.first, pair.second)).collect();
        assert_eq!(pairs, [(0, 1), (0, 2), (1, 2)]);
        for pair in &comparison.pairs {
            // each is better on all ten folds: 2/1024, of three tests
            assert_eq!(pair.wilcoxon, WilcoxonSignedRank::of(&column(pair.first), &column(pair.second)).unwrap());
            assert_eq!((pair.wilcoxon.p, pair.holm, pair.differs), (2.0 / 1024.0, 6.0 / 1024.0, true));
        }
        assert_eq!(comparison.pair(2, 0).unwrap().nemenyi, comparison.nemenyi.p[0][2]);
        assert_eq!(comparison.pair(1, 1), None);
    }

    #[test]
    fn it_prints_as_text() {
        let text = compared().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "method  mean ± std  mean rank");
        assert_eq!(lines[1], "CAT     70.5 ± 0.3       3.00");
        assert_eq!(lines[5], "Friedman: χ² = 20.00, 2 degrees of freedom, p = 4.54e-5 (3 methods, 10 blocks)");
        assert_eq!(lines[6], "Nemenyi: mean ranks 1.05 apart differ at 0.05");
        assert_eq!(lines[9], "CAT – MB    0         0.002   0.006 *        0.065");
        assert_eq!(lines.len(), 12);
    }

    #[test]
    fn it_is_written_and_read() {
        let comparison = compared();
        let text = serde_json::to_string(&comparison).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), comparison);
    }

    #[test]
    fn names_must_fit_the_table() {
        let scores = array![[1.0, 2.0], [2.0, 3.0]];
        let text = Comparison::of(&["a", "b", "c"], &["1", "2"], &scores).unwrap_err().to_string();
        assert_eq!(text, "scores of blocks and methods: expected shape [2, 3], found [2, 2]");
        assert!(Comparison::of(&["a"], &["1", "2"], &array![[1.0], [2.0]]).is_err());
        assert!(Comparison::at_level(&["a", "b"], &["1", "2"], &scores, 0.0).is_err());
        assert!(Comparison::of(&["a", "b"], &["1", "2"], &array![[1.0, f64::NAN], [2.0, 3.0]]).is_err());
    }

    #[test]
    fn small_p_values_have_an_exponent() {
        assert_eq!((p_text(1.99e-24), p_text(0.001), p_text(1.0)), ("1.99e-24".into(), "0.001".into(), "1.000".into()));
    }
}
