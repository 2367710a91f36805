//! A Python process that does what it is asked and says how long that took.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A process that runs one of the scripts of this folder.
pub(crate) struct Worker {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts `script` with a number of threads.
    pub(crate) fn start(python: &Path, script: &str, threads: usize) -> Result<Self> {
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "benches/pytorch", script]
            .iter()
            .collect();
        let threads = threads.to_string();
        let mut child = Command::new(python)
            .arg(script)
            .arg(&threads)
            .env("OMP_NUM_THREADS", &threads)
            .env("MKL_NUM_THREADS", &threads)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {} (name another by --python)",
                    python.display()
                )
            })?;
        let questions = child.stdin.take();
        let answers = child.stdout.take().context("a pipe of its answers")?;
        Ok(Self {
            child,
            questions,
            answers: BufReader::new(answers),
        })
    }

    /// Asks one question and waits for its answer.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, question: &Value) -> Result<T> {
        let questions = self.questions.as_mut().context("a pipe for questions")?;
        // A process that has ended says why on its standard error, which is ours.
        let sent = writeln!(questions, "{question}").and_then(|()| questions.flush());
        let mut line = String::new();
        if sent.is_err() || self.answers.read_line(&mut line)? == 0 {
            bail!(
                "the Python process ended with {} (it needs the package torch; name another Python \
                 by --python)",
                self.child.wait()?
            );
        }
        let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            bail!("Python failed at {question}:\n{error}");
        }
        Ok(serde_json::from_value(answer)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its questions ends it.
        self.questions = None;
        let _ = self.child.wait();
    }
}
