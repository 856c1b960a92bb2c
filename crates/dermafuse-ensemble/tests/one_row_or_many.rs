//! What the second stage says of a record is the same to the last bit alone and beside any others.

use std::ops::Range;

use dermafuse_ensemble::{ClassifierCluster, ClassifierKind};
use dermafuse_schema::ndarray::{Array2, ArrayView2, Axis, Slice};
use dermafuse_schema::{Task, TaskSet};

const RECORDS: usize = 60;

/// Uneven numbers, no two alike.
fn records(features: usize) -> Array2<f64> {
    Array2::from_shape_fn((RECORDS, features), |(row, column)| ((row * 7919 + column * 104_729) as f64 * 0.618).fract())
}

fn rows(records: &Array2<f64>, rows: Range<usize>) -> ArrayView2<'_, f64> {
    records.slice_axis(Axis(0), Slice::from(rows))
}

fn labels(row: usize) -> Vec<Option<usize>> {
    vec![Some(row * 7 % 5 % 3), Some(row * 3 % 4 / 2)]
}

fn bits(probabilities: &[Array2<f64>], row: usize) -> Vec<u64> {
    probabilities.iter().flat_map(|task| task.row(row).iter().map(|p| p.to_bits()).collect::<Vec<_>>()).collect()
}

#[test]
fn a_record_alone_is_a_record_among_many() {
    let tasks =
        TaskSet::new(vec![Task::new("diagnosis", "DIAG", ["a", "b", "c"]), Task::new("streaks", "STR", ["no", "yes"])])
            .unwrap();
    let labels: Vec<_> = (0..RECORDS).map(labels).collect();
    let groups: Vec<String> = (0..RECORDS).map(|row| format!("patient {}", row / 2)).collect();
    // Few columns, and more than a matrix product takes at once.
    for features in [1, 44, 700] {
        let records = records(features);
        for kind in ClassifierKind::ALL {
            let params = ClassifierCluster::params(kind, 1);
            let cluster = params.fit(records.view(), &labels, &tasks, &groups).unwrap();
            let alone: Vec<Vec<u64>> =
                (0..RECORDS).map(|row| bits(&cluster.predict(rows(&records, row..row + 1)).unwrap(), 0)).collect();
            for count in [1, 2, 3, 8, 16, 17, RECORDS] {
                let some = cluster.predict(rows(&records, 0..count)).unwrap();
                let backwards: Vec<usize> = (0..count).rev().collect();
                let reversed = cluster.predict(records.select(Axis(0), &backwards).view()).unwrap();
                for (row, alone) in alone.iter().enumerate().take(count) {
                    assert!(bits(&some, row) == *alone, "{kind:?}: row {row} of {count} with {features} columns");
                    let place = count - 1 - row;
                    assert!(bits(&reversed, place) == *alone, "{kind:?}: row {row} of {count} from behind");
                }
            }
        }
    }
}
