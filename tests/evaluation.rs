//! What `incubate eval` says about classes, and that runs of version 0.1 can still be read.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::command::{incubate, tiny, tiny_with};

/// Scores the meta model of a run.
fn eval(run: &Path, more: &[&str]) -> crate::command::Answer {
    let mut arguments = vec!["eval", run.to_str().unwrap(), "--device", "cpu"];
    arguments.extend(["--unit", "meta"]);
    arguments.extend(more);
    incubate(&arguments)
}

#[test]
fn classes_add_up_to_the_whole() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let result = fs::read(run.join("units/meta/result.json")).unwrap();
    let result: Value = serde_json::from_slice(&result).unwrap();
    let score = eval(&run, &["--json", "--per-class"])
        .succeeded()
        .json_lines()
        .remove(0);
    for key in ["accuracy", "top5"] {
        assert_eq!(score[key], result[key], "{key}");
    }
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&score["top5"]) > number(&score["accuracy"]));

    let classes = score["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 10);
    let mut before = 0.0;
    let (mut pictures, mut sums) = (0.0, [0.0; 3]);
    for class in classes {
        let name = class["class"].as_str().unwrap();
        let count = number(&class["pictures"]);
        let predicted = class["predicted"].as_object().unwrap();
        assert_eq!(
            predicted.values().map(number).sum::<f64>(),
            count,
            "{class}"
        );
        let right = predicted.get(name).map_or(0.0, number);
        assert_eq!(number(&class["accuracy"]), right / count, "{class}");
        assert!(
            number(&class["accuracy"]) >= before,
            "the worst comes first"
        );
        before = number(&class["accuracy"]);
        pictures += count;
        for (sum, key) in sums.iter_mut().zip(["accuracy", "top5", "loss"]) {
            *sum += count * number(&class[key]);
        }
    }
    assert_eq!(pictures, 100.0);
    for (sum, key) in sums.into_iter().zip(["accuracy", "top5", "loss"]) {
        let mean = sum / pictures;
        assert!((mean - number(&score[key])).abs() < 1e-9, "{key}: {mean}");
    }

    let text = eval(&run, &["--per-class"]).succeeded().stdout;
    let worst = classes[0]["class"].as_str().unwrap();
    let first = text
        .lines()
        .skip_while(|line| !line.starts_with("---"))
        .nth(1)
        .unwrap();
    assert!(first.starts_with(worst), "{text}");
    assert!(text.contains("most often taken for"), "{text}");
    assert!(text.contains("of 100 pictures right"), "{text}");
}

#[test]
fn confusion_is_drawn_for_one_unit() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny(&run, &["baseline.epochs=1"]).succeeded();
    let file = folder.path().join("confusion.png");
    let path = file.to_str().unwrap();
    eval(&run, &["--confusion", path]).succeeded();
    let picture = image::open(&file).unwrap().into_rgb8();
    assert!(picture.width() > 480 && picture.height() > 480);
    let green = picture
        .pixels()
        .filter(|pixel| pixel.0[1] > pixel.0[0] + 40)
        .count();
    let red = picture
        .pixels()
        .filter(|pixel| pixel.0[0] > pixel.0[1] + 40)
        .count();
    assert!(
        green > 500 && red > 500,
        "{green} green and {red} red pixels"
    );
    let all = [
        "eval",
        run.to_str().unwrap(),
        "--device",
        "cpu",
        "--confusion",
        path,
    ];
    incubate(&all).failed(2, &["--confusion", "fine-tune", "--unit"]);
    let nowhere = folder.path().join("nowhere/confusion.png");
    eval(&run, &["--confusion", nowhere.to_str().unwrap()]).failed(2, &["nowhere"]);
}

#[test]
fn a_run_without_top_5_can_be_read() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
    let file = run.join("units/meta/result.json");
    let text = fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("\"top5\"") && !line.contains("\"seal\""))
        .collect();
    assert_eq!(kept.len() + 2, text.lines().count(), "{text}");
    fs::write(&file, kept.join("\n")).unwrap();
    let report = tiny_with(&run, &[], &["--unit", "meta", "--json"]).succeeded();
    let report = report.json_lines().pop().unwrap();
    assert_eq!(report["report"]["rows"][0]["top5"], Value::Null);
    tiny_with(&run, &[], &["--unit", "meta"]).succeeded();
}
