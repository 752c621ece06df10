//! Counting, with valgrind.

use std::path::Path as FilePath;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::path::Path;

/// How often the operation is done in the two runs whose difference counts.
const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

/// Whether valgrind is there.
pub fn valgrind_works() -> bool {
    let mut command = Command::new("valgrind");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The version of the compiler, such as `rustc 1.88.0 (6b00bc388 2025-06-23)`, with its target.
pub fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("an unknown target");
    let version = text.lines().next().context("rustc does not say its version")?;
    Ok(format!("{version}, {host}"))
}

/// Instructions of one operation, on average. `program` with the arguments `run NAME TIMES DIR` does it.
pub fn count(program: &FilePath, path: Path) -> Result<f64> {
    let few = total(program, path, FEW)?;
    let many = total(program, path, MANY)?;
    ensure!(many > few, "{}: {MANY} times took no more instructions than {FEW}", path.name());
    Ok((many - few) as f64 / (MANY - FEW) as f64)
}

fn total(program: &FilePath, path: Path, times: u64) -> Result<u64> {
    let dir = tempfile::tempdir()?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", path.name(), &times.to_string()])
        .arg(dir.path())
        .output()
        .context("cannot start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} under valgrind: {said}", path.name());
    total_in(&said).with_context(|| format!("valgrind gives no total: {said}"))
}

/// The number in cachegrind's line `==123== I   refs:      12,345,678` (older versions) or `I refs:`.
fn total_in(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains(" I ") && line.contains("refs:"))?;
    line.rsplit(':').next()?.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_in_the_output_of_old_and_new_versions() {
        let old = "==7== Cachegrind, a cache profiler\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(total_in(old), Some(1_234_567));
        assert_eq!(total_in("==7== I refs:   42"), Some(42));
        assert_eq!(total_in("==7== D refs:   42"), None);
    }
}
