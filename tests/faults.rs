//! What a run folder survives, or refuses with a sentence: damaged files, a full disk, missing rights,
//! files of another time, a replaced plugin, and no memory. Everything is done to real files and
//! processes, and afterwards the run has to end with the bits of one that nothing happened to.
#![expect(
    clippy::print_stderr,
    reason = "a test that this machine does not allow says so"
)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::tempdir;

use crate::background::{Background, updates, wait_for};
use crate::command::{Answer, tiny_with};
use crate::interrupted::{assert_same, ends_with_the_same_bits, go_on, killed, shell};

/// How a file is damaged.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// Nothing is in it.
    Emptied,
    /// The second half is missing.
    Truncated,
    /// One bit is another one, at this share of the file.
    Flipped(f64),
    /// It is not there.
    Removed,
}

fn damage(file: &Path, how: Damage) {
    let mut bytes = fs::read(file).unwrap();
    match how {
        Damage::Emptied => bytes.clear(),
        Damage::Truncated => bytes.truncate(bytes.len() / 2),
        Damage::Flipped(share) => {
            let place = (bytes.len() as f64 * share) as usize;
            bytes[place] ^= 1;
        }
        Damage::Removed => return fs::remove_file(file).unwrap(),
    }
    fs::write(file, bytes).unwrap();
}

/// That a command ended by itself, without a panic.
#[track_caller]
fn assert_orderly(answer: &Answer, statuses: &[i32]) {
    assert!(
        statuses.contains(&answer.status) && !answer.stderr.contains("panicked"),
        "status {}: {}",
        answer.status,
        answer.stderr
    );
}

/// The newest checkpoint of the killed run.
const NEWEST: &str = "units/fine-tune/checkpoints/0000000008";

#[test]
fn damaged_files_are_refused_by_name_or_replaced_by_older_ones() {
    use Damage::{Emptied, Flipped, Removed, Truncated};
    let every = [Emptied, Truncated, Flipped(0.7), Removed];
    // With what the command has to say about it, when it goes on all the same.
    let files = [
        ("run.json", ""),
        ("experiment.toml", ""),
        ("units/meta/result.json", ""),
        ("units/assemble/result.json", ""),
        ("units/assemble/weights.safetensors", ""),
        ("units/module.1/weights.safetensors", ""),
        ("units/fine-tune/events.jsonl", "was damaged"),
        ("units/fine-tune/calls.jsonl", "was damaged"),
        (&format!("{NEWEST}/network.safetensors"), "is damaged"),
        (&format!("{NEWEST}/optimizer.safetensors"), "is damaged"),
        (&format!("{NEWEST}/average.safetensors"), "is damaged"),
        (&format!("{NEWEST}/state.json"), "is damaged"),
    ];
    for (file, said) in files {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        for how in every {
            let (_folder, run) = killed();
            damage(&run.join(file), how);
            let answer = go_on(&run, |command| command);
            assert_orderly(&answer, &[0, 4]);
            let context = format!("{file}, {how:?}: {}", answer.stderr);
            let goes_on = !said.is_empty()
                // Without its result a unit is not finished, and is trained again.
                || matches!(how, Removed) && name == "result.json";
            assert_eq!(answer.status == 0, goes_on, "{context}");
            // Nothing reads what stands in a log, or what was recorded, back.
            let silent = matches!(how, Flipped(_)) && name.ends_with(".jsonl")
                || matches!(how, Removed) && name == "result.json";
            let named = answer.stderr.contains(name) && answer.stderr.contains(said);
            assert!(silent || named, "{context}");
            if answer.status == 0 {
                assert_same(&run);
                continue;
            }
            assert!(
                ["restore", "delete", "another"]
                    .iter()
                    .any(|word| answer.stderr.contains(word)),
                "{context}"
            );
            // Nothing was written over, and with the file everything goes on.
            let (_other, whole) = killed();
            fs::copy(whole.join(file), run.join(file)).unwrap();
            ends_with_the_same_bits(&run);
        }
    }
}

#[test]
fn no_bit_of_a_result_or_a_record_can_flip_unseen() {
    let (_folder, run) = killed();
    for file in ["run.json", "units/assemble/result.json"] {
        let path = run.join(file);
        let whole = fs::read(&path).unwrap();
        let text = String::from_utf8(whole.clone()).unwrap();
        // Digits that would be read as other numbers.
        let places = text
            .match_indices(": ")
            .map(|(place, _)| place + 2)
            .filter(|place| whole[*place].is_ascii_digit());
        let mut tried = 0;
        for place in places {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            let answer = go_on(&run, |command| command);
            answer.failed(4, &[file, "is damaged", "sha256"]);
            tried += 1;
            if tried == 12 {
                break;
            }
        }
        assert!(tried > 5, "{text}");
        fs::write(&path, whole).unwrap();
    }
    ends_with_the_same_bits(&run);
}

#[test]
fn a_damaged_lease_is_watched_and_taken_over() {
    let (_folder, run) = killed();
    damage(&run.join("units/fine-tune/lease.json"), Damage::Truncated);
    let answer = go_on(&run, |command| command).succeeded();
    assert!(
        answer.stderr.contains("from an unknown process"),
        "{}",
        answer.stderr
    );
    assert_same(&run);
}

#[test]
fn every_checkpoint_may_be_damaged() {
    let (_folder, run) = killed();
    let checkpoints = run.join("units/fine-tune/checkpoints");
    let mut damaged = 0;
    for entry in fs::read_dir(&checkpoints).unwrap() {
        let file = entry.unwrap().path().join("optimizer.safetensors");
        // The kill may have left one half written, which nobody reads.
        if file.exists() {
            damage(&file, Damage::Flipped(0.5));
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let answer = go_on(&run, |command| command).succeeded();
    assert!(answer.stderr.contains("the unit begins again"));
    assert_same(&run);
}

#[test]
fn a_file_that_cannot_grow_is_named_and_nothing_is_lost() {
    let mut refused = Vec::new();
    for blocks in [40, 80, 160, 240, 400] {
        let (_folder, run) = killed();
        fs::remove_dir_all(run.join("units/module.1")).unwrap();
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let answer = shell(&["env"], &script, &run);
        // A plugin needs a file in memory, which is bounded like any other.
        assert_orderly(&answer, &[0, 4, 10]);
        if answer.status == 4 {
            let phrases = ["cannot write", "File too large", "run again"];
            answer.failed(4, &phrases);
            refused.push(blocks);
        }
        ends_with_the_same_bits(&run);
    }
    assert!(refused.len() >= 2, "{refused:?}");
}

/// Whether this user can have a name space of his own, in which he mounts what he likes.
fn can_mount() -> bool {
    let allowed = Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs none /mnt"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("nothing was tried: `unshare -rm` may not mount a file system here");
    }
    allowed
}

#[test]
fn a_full_disk_is_named_and_nothing_is_lost() {
    if !can_mount() {
        return;
    }
    let mut places: Vec<String> = Vec::new();
    for kilobytes in [4, 12, 24, 60, 120, 200, 300, 400, 600] {
        let folder = tempdir().unwrap();
        let run = folder.path().join("run");
        // The run lies on the small disk, which is there for this shell alone.
        let script = format!(
            "mkdir -p \"$RUN\" && mount -t tmpfs -o size={kilobytes}k none \"$RUN\" || exit 99
             \"$@\" 2>&1; first=$?
             mount -o remount,size=64m \"$RUN\" && echo again >&2
             \"$@\" >&2; then=$?
             cp -r \"$RUN\" \"$RUN.kept\"; echo \"statuses $first $then\""
        );
        let answer = shell(&["unshare", "-rm"], &script, &run);
        assert!(
            answer.stdout.contains("statuses 4 0"),
            "{kilobytes} KiB: {} {}",
            answer.stdout,
            answer.stderr
        );
        for phrase in ["No space left on device", "make room", "cannot write"] {
            assert!(answer.stdout.contains(phrase), "{}", answer.stdout);
        }
        let said = answer
            .stdout
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap()
            .split('`')
            .nth(1)
            .unwrap();
        places.push(said.rsplit('/').next().unwrap().to_owned());
        assert_same(&folder.path().join("run.kept"));
    }
    // It was full for files of several kinds.
    places.sort();
    places.dedup();
    assert!(places.len() >= 4, "{places:?}");
}

#[test]
fn a_read_only_folder_is_named_and_nothing_is_lost() {
    if !can_mount() {
        return;
    }
    let (_folder, run) = killed();
    let script = "mount --bind \"$RUN\" \"$RUN\" && mount -o remount,ro,bind \"$RUN\" || exit 99
                  exec \"$@\"";
    let answer = shell(&["unshare", "-rm"], script, &run);
    answer.failed(
        4,
        &[
            "lease.json",
            "Read-only file system",
            "make the folder writable",
        ],
    );
    ends_with_the_same_bits(&run);
    // A run that cannot begin.
    let folder = tempdir().unwrap();
    let script = "mount --bind \"$RUN\" \"$RUN\" && mount -o remount,ro,bind \"$RUN\" || exit 99
                  exec \"$@\"";
    shell(&["unshare", "-rm"], script, folder.path())
        .failed(4, &["run.json", "Read-only file system"]);
}

/// What takes root's privilege over rights away; nobody else has it.
fn without_privilege() -> Option<Vec<&'static str>> {
    let root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !root {
        return Some(vec!["env"]);
    }
    let dropped = vec![
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search,-fowner",
        "--",
    ];
    let works = Command::new(dropped[0])
        .args(&dropped[1..])
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("nothing was tried: root cannot give his privileges up with `setpriv` here");
    }
    works.then_some(dropped)
}

#[test]
fn missing_rights_are_named_and_nothing_is_lost() {
    let Some(program) = without_privilege() else {
        return;
    };
    let cases = [
        ("run.json", 0o000, "run.json"),
        ("experiment.toml", 0o000, "experiment.toml"),
        ("units/assemble/result.json", 0o000, "result.json"),
        (
            "units/assemble/weights.safetensors",
            0o000,
            "weights.safetensors",
        ),
        ("units/fine-tune", 0o555, "lease.json"),
        ("units/fine-tune/events.jsonl", 0o444, "events.jsonl"),
        ("units/fine-tune/calls.jsonl", 0o444, "calls.jsonl"),
        ("units/fine-tune/checkpoints", 0o555, "checkpoints"),
        (NEWEST, 0o000, "state.json"),
        (&format!("{NEWEST}/state.json"), 0o000, "state.json"),
        (
            &format!("{NEWEST}/network.safetensors"),
            0o000,
            "network.safetensors",
        ),
    ];
    for (place, mode, named) in cases {
        let (_folder, run) = killed();
        let path = run.join(place);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let answer = shell(&program, "exec \"$@\"", &run);
        assert_orderly(&answer, &[4]);
        answer.failed(4, &[named, "Permission denied", "run again"]);
        fs::set_permissions(&path, before).unwrap();
        // What may not be read is not damaged, and stays.
        let renamed = fs::read_dir(run.join("units/fine-tune/checkpoints")).unwrap();
        for entry in renamed {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains("damaged"), "{place}: {name}");
        }
        ends_with_the_same_bits(&run);
    }
}

/// Everything in a folder, and the folder.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_path_buf()];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn files_of_another_time_are_the_same_files() {
    let century = Duration::from_secs(100 * 365 * 86_400);
    let future = SystemTime::now() + century;
    for time in [SystemTime::UNIX_EPOCH, future] {
        let (_folder, run) = killed();
        for path in everything(&run) {
            File::open(path).unwrap().set_modified(time).unwrap();
        }
        let answer = go_on(&run, |command| command).succeeded();
        assert!(answer.stderr.contains("which is gone"), "{}", answer.stderr);
        assert!(answer.stderr.contains("goes on at"), "{}", answer.stderr);
        assert_same(&run);
    }
}

#[test]
fn a_plugin_that_is_replaced_while_it_runs_changes_nothing_and_is_refused_next() {
    let folder = tempdir().unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist");
    let plugin = folder.path().join("loss.wasm");
    fs::copy(plugins.join("cross-entropy.wasm"), &plugin).unwrap();
    let loss = format!("loss.plugin={}", plugin.display());
    let more = [loss.as_str(), "meta.epochs=60"];
    let (quiet, run) = (folder.path().join("quiet"), folder.path().join("run"));
    tiny_with(&quiet, &more, &["--unit", "meta"]).succeeded();
    let mut process = Background::tiny(&run, &more, &["--unit", "meta"]);
    wait_for("an update", || updates(&run, "meta").first().copied());
    fs::copy(plugins.join("focal.wasm"), &plugin).unwrap();
    let seen = updates(&run, "meta").len();
    assert!(seen < 240, "the unit was over already");
    assert_eq!(process.status(), 0, "{}", process.stderr());
    let weights = |run: &Path| fs::read(run.join("units/meta/weights.safetensors")).unwrap();
    assert!(weights(&quiet) == weights(&run));
    let next = tiny_with(&run, &more, &["--unit", "module.0"]);
    next.failed(4, &["loss", "changed since this run began", "restore it"]);
    fs::copy(plugins.join("cross-entropy.wasm"), &plugin).unwrap();
    tiny_with(&run, &more, &["--unit", "module.0"]).succeeded();
    tiny_with(&quiet, &more, &["--unit", "module.0"]).succeeded();
    let weights = |run: &Path| fs::read(run.join("units/module.0/weights.safetensors")).unwrap();
    assert!(weights(&quiet) == weights(&run));
}

#[test]
fn a_process_without_memory_leaves_a_run_that_goes_on() {
    let mut ended = Vec::new();
    for updates_before in [1, 4, 7] {
        let folder = tempdir().unwrap();
        let run = folder.path().join("run");
        // With a thread for every checkpoint, and without.
        let every = format!("checkpoint.every_updates={}", updates_before % 2);
        let more = ["meta.epochs=4", every.as_str()];
        let larger = ["training.batch=100", "model.width=64"];
        let more = [&more[..], &larger].concat();
        let mut process = Background::tiny(&run, &more, &["--unit", "meta", "--unit", "module.0"]);
        wait_for("updates", || {
            (updates(&run, "meta").len() >= updates_before).then_some(())
        });
        // From now on the system gives it nothing more.
        let limited = Command::new("prlimit")
            .args(["--pid", &process.id().to_string(), "--as=1"])
            .status()
            .unwrap();
        assert!(limited.success());
        let status = process.wait();
        if !status.success() {
            // An error or an abort, never a signal that says that memory was overwritten.
            assert_ne!(status.signal(), Some(11), "{}", process.stderr());
            ended.push(process.stderr());
        }
        let units = ["--unit", "meta", "--unit", "module.0"];
        tiny_with(&run, &more, &units).succeeded();
        let quiet = folder.path().join("quiet");
        tiny_with(&quiet, &more, &units).succeeded();
        for unit in ["meta", "module.0"] {
            let file = |run: &Path| run.join("units").join(unit).join("weights.safetensors");
            let weights = |run: &Path| fs::read(file(run)).unwrap();
            assert!(weights(&quiet) == weights(&run), "{unit}: {ended:?}");
        }
    }
    assert!(!ended.is_empty(), "no process ended for want of memory");
}

#[test]
fn programs_are_told_what_happened_to_a_folder() {
    let (_folder, run) = killed();
    damage(
        &run.join("units/assemble/weights.safetensors"),
        Damage::Flipped(0.5),
    );
    let answer = go_on(&run, |mut command| {
        command.arg("--json");
        command
    });
    assert_eq!(answer.status, 4);
    let error: Value = serde_json::from_str(answer.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["class"], "run-folder");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("weights.safetensors")
    );
}
