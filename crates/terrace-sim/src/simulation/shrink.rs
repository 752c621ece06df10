//! Making a failing run smaller: steps are left out as long as it goes on failing.

use super::Steps;

/// The smallest list of steps found for which `fails` still says so. Leaves out halves, then quarters, and so on
/// down to single steps, until nothing more can go; `fails` is asked at most `tries` times.
pub fn shrink(steps: &Steps, tries: usize, mut fails: impl FnMut(&Steps) -> bool) -> Steps {
    let mut kept: Vec<u64> = steps.iter().collect();
    let (mut piece, mut left) = (kept.len().div_ceil(2), tries);
    while piece > 0 {
        let (mut at, mut removed) = (0, false);
        while at < kept.len() && left > 0 {
            left -= 1;
            let mut fewer = kept.clone();
            fewer.drain(at..(at + piece).min(kept.len()));
            if fails(&Steps::of(fewer.clone())) {
                (kept, removed) = (fewer, true);
            } else {
                at += piece;
            }
        }
        if left == 0 {
            break;
        }
        piece = if piece == 1 && removed { 1 } else { piece / 2 };
    }
    Steps::of(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_left() {
        let needs = |wanted: &'static [u64]| {
            move |steps: &Steps| wanted.iter().all(|step| steps.iter().any(|s| s == *step))
        };
        for wanted in [&[7][..], &[1, 100], &[50, 51, 52], &[]] {
            let steps = shrink(&Steps::up_to(100), 10_000, needs(wanted));
            assert_eq!(steps.iter().collect::<Vec<_>>(), wanted);
        }
        assert_eq!(shrink(&Steps::up_to(100), 0, needs(&[7])).len(), 100);
    }
}
