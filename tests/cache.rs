//! The cache of compiled plugins as a person meets it: it makes the second command fast, and
//! nothing about it makes a command fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::tempdir;

fn list(cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_incubate"));
    command
        .args(["plugin", "list"])
        .env("XDG_CACHE_HOME", cache)
        .env("NO_COLOR", "1");
    command
}

#[track_caller]
fn assert_lists(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("cross-entropy"));
    stderr
}

#[test]
fn processes_share_it() {
    let folder = tempdir().unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = list(folder.path());
            command.stdout(std::process::Stdio::piped());
            command.stderr(std::process::Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        assert_eq!(assert_lists(&child.wait_with_output().unwrap()), "");
    }
    // One file for each of the plugins that ship, and nothing half-written.
    let names: Vec<String> = fs::read_dir(folder.path().join("incubate/plugins"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let plugins = incubate::plugin::PluginHost::built_in().count();
    assert_eq!(names.len(), plugins, "{names:?}");
    assert!(
        names.iter().all(|name| name.ends_with(".compiled")),
        "{names:?}"
    );
}

#[test]
fn damage_costs_time_and_nothing_else() {
    let folder = tempdir().unwrap();
    assert_lists(&list(folder.path()).output().unwrap());
    let plugins = folder.path().join("incubate/plugins");
    let files: Vec<_> = fs::read_dir(&plugins)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let before: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (index, file) in files.iter().enumerate() {
        let mut bytes = before[index].clone();
        let middle = bytes.len() / 2;
        match index % 3 {
            0 => bytes.truncate(middle),
            1 => bytes[middle] ^= 1,
            _ => bytes.clear(),
        }
        fs::write(file, bytes).unwrap();
    }
    assert_eq!(assert_lists(&list(folder.path()).output().unwrap()), "");
    for (file, before) in files.iter().zip(before) {
        // Compiling gives the same code again.
        assert!(fs::read(file).unwrap() == before, "{file:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_may_write_to_is_named_and_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempdir().unwrap();
    let plugins = folder.path().join("incubate/plugins");
    fs::create_dir_all(&plugins).unwrap();
    fs::set_permissions(&plugins, fs::Permissions::from_mode(0o777)).unwrap();
    let warning = assert_lists(&list(folder.path()).output().unwrap());
    assert!(warning.contains("warning: compiled plugins are not kept: other users may write to"));
    assert_eq!(fs::read_dir(&plugins).unwrap().count(), 0);
}
