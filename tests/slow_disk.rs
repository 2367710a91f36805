//! A disk that takes its time: training does not wait for it.

use std::fs;
use std::process::Command;

use tempfile::tempdir;

use crate::background::{Background, updates};

/// Takes the place of the system's `fsync`: on the thread that writes checkpoints each call takes a
/// quarter of a second, and is counted in a file.
const SLOW: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int fsync(int file) {
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (strcmp(name, "checkpoint") == 0) {
        int counted = open(getenv("COUNTED"), O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (counted < 0 || write(counted, ".", 1) != 1) abort();
        close(counted);
        usleep(250000);
    }
    int (*next)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    return next(file);
}
"#;

#[test]
fn training_does_not_wait_for_checkpoints_that_are_due_by_the_clock() {
    // One is due after every update, and the next is taken when it is written.
    let (calls, said) = trained("checkpoint.every_minutes=1e-9");
    assert!(calls < 150, "{calls}: updates waited for the disk");
    assert!(!said.contains("left out"), "{said}");
}

#[test]
fn training_does_not_wait_for_checkpoints_that_are_due_by_the_number_of_updates() {
    let (calls, said) = trained("checkpoint.every_updates=1");
    assert!(calls < 200, "{calls}: updates waited for the disk");
    assert!(said.contains("some are left out"), "{said}");
}

/// Trains 60 updates with a slow disk: how often something was made durable, and what was said.
fn trained(checkpoint: &str) -> (usize, String) {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("slow.c"), SLOW).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([at("slow.so"), at("slow.c")])
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(compiled.success());
    let more = ["meta.epochs=15", checkpoint];
    let variables = [("LD_PRELOAD", at("slow.so")), ("COUNTED", at("counted"))];
    let variables = variables
        .each_ref()
        .map(|(name, path)| (*name, path.as_path()));
    let run = at("run");
    let mut process = Background::tiny_within(&run, &more, &["--unit", "meta"], &variables);
    assert_eq!(process.status(), 0, "{}", process.stderr());
    assert_eq!(updates(&run, "meta").len(), 60);
    // Five files and folders in a checkpoint, so three hundred if each update had one.
    let calls = fs::read(at("counted")).unwrap().len();
    assert!(calls >= 5, "{calls}: no checkpoint was written");
    (calls, process.stderr())
}
