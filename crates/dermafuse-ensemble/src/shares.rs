//! Mean accuracies that compare as fractions do.
//!
//! The mean over the tasks of `hits / annotated cases` is a sum of fractions. Computed in floating point, equal sums come out
//! unequal in their last digits, and which of two equally good weights is called better is then left to rounding. Here
//! each hit is worth a whole number of one common fraction.

/// What a hit of each task is worth when so many cases are annotated for it: all annotated cases of a task are worth as
/// much as those of another. A task without annotated cases is worth nothing.
///
/// The numbers are exact as long as sums of them fit in 128 bits, as for eight tasks of up to 40,000 cases whatever the
/// totals. Beyond that, worths are rounded down to 96 binary digits.
pub(crate) fn shares(totals: &[usize]) -> Vec<u128> {
    let multiple = |common: u128, &total: &usize| {
        let total = total as u128;
        common.checked_mul(total / greatest_common_divisor(common, total))
    };
    let common = totals.iter().filter(|total| **total > 0).try_fold(1, multiple);
    // twice the sum over the tasks must fit, and some
    let fits = |common: &u128| common.checked_mul(4 * totals.len() as u128).is_some();
    let common = common.filter(fits).unwrap_or(1 << 96);
    totals.iter().map(|&total| if total > 0 { common / total as u128 } else { 0 }).collect()
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cases_of_a_task_are_worth_as_much_as_those_of_another() {
        let totals = [203, 200, 0, 7];
        let shares = shares(&totals);
        let worth: Vec<u128> = shares.iter().zip(totals).map(|(share, total)| share * total as u128).collect();
        assert_eq!(worth, [worth[0], worth[0], 0, worth[0]]);
        // 1/3 + 1/6 = 1/2, which rounded fractions need not know
        let [third, sixth] = super::shares(&[3, 6])[..] else { panic!("two tasks") };
        assert_eq!(third + sixth, 3 * sixth);
    }

    #[test]
    fn eight_large_tasks_are_exact() {
        let totals = [15_991, 15_973, 15_971, 15_959, 15_937, 15_923, 15_919, 15_913]; // primes
        let shares = shares(&totals);
        assert!((0..8).all(|task| shares[task] * totals[task] as u128 == shares[0] * totals[0] as u128));
    }
}
