//! The committed counts, and what later counts mean beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FilePath;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::path::Path;

/// Growth that is refused when the compiler is the one of the baseline.
const SAME_COMPILER: f64 = 0.05;
/// Growth that is refused otherwise: another compiler makes other code of the same source.
const OTHER_COMPILER: f64 = 0.25;

/// Counts and the compiler that they belong to.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler and its target.
    pub compiler: String,
    /// Instructions per operation, by the name of the path.
    pub instructions: BTreeMap<String, f64>,
}

/// What a count means beside the baseline.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Within the bounds. The change as a share; negative is better.
    Fine(f64),
    /// Above the bound, which is given second.
    Grown(f64, f64),
    /// The baseline has no such path.
    New,
}

impl Baseline {
    /// Reads the file.
    pub fn read(file: &FilePath) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no baseline", file.display()))
    }

    /// Writes the file.
    pub fn write(&self, file: &FilePath) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Judges a count that was made with `compiler`.
    pub fn judge(&self, compiler: &str, path: Path, count: f64) -> Verdict {
        let Some(&before) = self.instructions.get(path.name()) else { return Verdict::New };
        let bound = if compiler == self.compiler { SAME_COMPILER } else { OTHER_COMPILER };
        let change = count / before - 1.0;
        if change > bound { Verdict::Grown(change, bound) } else { Verdict::Fine(change) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_judged_by_the_compiler() {
        let instructions = [("put".to_owned(), 1000.0)].into();
        let baseline = Baseline { compiler: "a".into(), instructions };
        assert!(matches!(baseline.judge("a", Path::Put, 1049.0), Verdict::Fine(change) if change > 0.04));
        assert!(matches!(baseline.judge("a", Path::Put, 500.0), Verdict::Fine(change) if change < 0.0));
        assert!(matches!(baseline.judge("a", Path::Put, 1051.0), Verdict::Grown(_, bound) if bound < 0.06));
        assert!(matches!(baseline.judge("b", Path::Put, 1051.0), Verdict::Fine(_)));
        assert!(matches!(baseline.judge("b", Path::Put, 1251.0), Verdict::Grown(..)));
        assert_eq!(baseline.judge("a", Path::Seek, 1.0), Verdict::New);
    }

    #[test]
    fn a_baseline_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("baseline.json");
        let baseline = Baseline { compiler: "a".into(), instructions: [("put".to_owned(), 12.5)].into() };
        baseline.write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), baseline);
        assert!(Baseline::read(&dir.path().join("none")).is_err());
    }
}
