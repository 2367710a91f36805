use std::path::{Path, PathBuf};

use ::safetensors::SafeTensors;
use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::*;
use crate::model::{
    Architecture, Network, Noise, VitConfig, network_to_safetensors, network_to_timm,
    stage_to_safetensors,
};
use crate::phase::Phase;
use crate::random::Seed;

/// A file of the reference implementation's own making.
fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(name)
}

/// Reads bytes as a checkpoint.
fn read_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint");
    std::fs::write(&file, bytes).expect("a file");
    read(&file)
}

/// The error for these bytes, without the file's name.
#[track_caller]
fn refused(bytes: &[u8]) -> String {
    match read_bytes(bytes) {
        Ok(_) => panic!("the bytes were read"),
        Err(error) => error.problem.to_string(),
    }
}

fn model() -> Architecture {
    Architecture::Vit(VitConfig {
        image_size: 12,
        patch_size: 4,
        channels: 3,
        classes: 5,
        width: 8,
        depth: 5,
        heads: 2,
        mlp_ratio: 2,
        qkv_bias: true,
        layer_norm_eps: 1e-6,
    })
}

fn network(depths: &[usize]) -> Network {
    model()
        .network(depths, Seed(3), Phase::Meta, &Device::flex())
        .expect("a network")
}

fn metadata() -> BTreeMap<String, String> {
    let model = serde_json::to_string(&model()).expect("plain data");
    BTreeMap::from([("incubate.model".to_owned(), model)])
}

fn logits(network: &Network) -> Vec<f32> {
    let values: Vec<f32> = (0..2 * 3 * 12 * 12)
        .map(|index| (index as f32).sin())
        .collect();
    let images = Tensor::from_data(
        TensorData::new(values, [2, 3, 12, 12]),
        &Device::flex().autodiff(),
    );
    let logits = network.forward(images, &Noise::off()).logits;
    logits.inner().into_data().iter::<f32>().collect()
}

#[test]
fn a_reference_checkpoint_is_the_model_that_it_was_saved_from() {
    let checkpoint = read(&reference("meta_checkpoint.pth")).expect("a checkpoint");
    assert_eq!(checkpoint.key(), "model_stages");
    assert_eq!(checkpoint.other_weights(), ["model"]);
    assert_eq!(checkpoint.layout(), Layout::Stages);
    assert_eq!(checkpoint.dimensions().stages, [1, 1, 1]);
    let bytes = std::fs::read(reference("meta.safetensors")).expect("the same weights");
    let twice = read_key(&reference("meta_checkpoint.pth"), Some("model")).expect("a checkpoint");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for (name, view) in file.iter() {
        let flat = flat_name(name, &[1, 1, 1]);
        let (expected, _) = view.data().as_chunks::<4>();
        let expected: Vec<f32> = expected.iter().copied().map(f32::from_le_bytes).collect();
        for checkpoint in [&checkpoint, &twice] {
            let values = checkpoint.values(&flat).expect("a tensor");
            assert_eq!(values.shape, view.shape(), "{flat}");
            assert_eq!(values.values, expected, "{flat}");
        }
    }
    assert_eq!(file.iter().count(), checkpoint.names().count());
    assert_eq!(file.iter().count(), twice.names().count());
}

#[test]
fn our_own_files_come_back_in_any_partition() {
    let original = network(&[2, 1, 2]);
    let expected = logits(&original);
    let files = [
        (network_to_timm(&original, &metadata()), vec![5]),
        (
            network_to_safetensors(&original, &metadata()),
            vec![2, 1, 2],
        ),
    ];
    for (bytes, stages) in files {
        let checkpoint = read_bytes(&bytes).expect("a checkpoint");
        assert_eq!(checkpoint.dimensions().stages, stages);
        assert_eq!(checkpoint.architecture(None).expect("all of it"), model());
        for depths in [&[5][..], &[1, 4], &[2, 1, 2], &[1, 1, 1, 1, 1]] {
            let network = checkpoint
                .network(&model(), depths, &Device::flex())
                .expect("a network");
            assert_eq!(network.depths(), depths);
            assert_eq!(logits(&network), expected, "{depths:?}");
        }
    }
}

#[test]
fn a_stage_is_a_part() {
    let original = network(&[2, 1, 2]);
    let middle = stage_to_safetensors(&original.stages()[1], &BTreeMap::new());
    let checkpoint = read_bytes(&middle).expect("a checkpoint");
    assert_eq!(checkpoint.dimensions().entry, None);
    assert_eq!(checkpoint.dimensions().classes, None);
    let other = network(&[1, 1, 3]).into_stages().swap_remove(1);
    let filled = checkpoint.fill_stage(other, 0).expect("it fits");
    assert_eq!(stage_to_safetensors(&filled, &BTreeMap::new()), middle);
    let message = checkpoint
        .architecture(Some(Unseen::from(&model())))
        .expect_err("a part is no network")
        .to_string();
    assert!(message.contains("only a part of a network"), "{message}");
}

#[test]
fn what_does_not_fit_is_named() {
    let checkpoint = read_bytes(&network_to_timm(&network(&[5]), &BTreeMap::new())).expect("it");
    let Architecture::Vit(config) = model();
    let with = |config: VitConfig| {
        let depth = config.depth;
        let error = checkpoint
            .network(&Architecture::Vit(config), &[depth], &Device::flex())
            .expect_err("it does not fit");
        error.problem.to_string()
    };
    let cases = [
        (
            with(VitConfig {
                depth: 4,
                ..config.clone()
            }),
            "has 5 blocks ([5] by stage) where the network has 4",
        ),
        (
            with(VitConfig {
                classes: 10,
                ..config.clone()
            }),
            "`head.weight` has shape [5, 8] where the network has [10, 8]; it tells other classes",
        ),
        (
            with(VitConfig {
                image_size: 16,
                ..config.clone()
            }),
            "`pos_embed` has shape [1, 10, 8] where the network has [1, 17, 8]; its pictures",
        ),
        (
            with(VitConfig {
                qkv_bias: false,
                ..config
            }),
            "5 tensors are unknown to this network: `blocks.0.attn.qkv.bias`",
        ),
    ];
    for (message, phrase) in cases {
        assert!(message.contains(phrase), "no `{phrase}` in: {message}");
    }
    let message = checkpoint.architecture(None).expect_err("no heads");
    assert!(message.to_string().contains("attention heads"), "{message}");
}

#[test]
fn kept_and_replaced_tensors() {
    let mut checkpoint =
        read_bytes(&network_to_timm(&network(&[5]), &BTreeMap::new())).expect("a checkpoint");
    let Architecture::Vit(config) = model();
    let larger = Architecture::Vit(VitConfig {
        image_size: 16,
        classes: 7,
        ..config
    });
    let fresh = larger
        .network(&[5], Seed(9), Phase::FineTune, &Device::flex())
        .expect("a network");
    let differences = checkpoint.differences(&fresh);
    assert_eq!(differences.classes(), Some((5, 7)));
    assert_eq!(differences.tokens(), Some((10, 17)));
    let named = ["head.weight", "head.bias", "pos_embed"];
    assert!(differences.only_in(&named));
    assert!(!differences.only_in(&named[..2]));
    let positions = Values {
        shape: vec![1, 17, 8],
        values: (0..17 * 8).map(|index| index as f32).collect(),
    };
    checkpoint.replace("pos_embed", positions.clone());
    let filled = checkpoint
        .fill(fresh.clone(), &["head.weight", "head.bias"])
        .expect("the rest fits");
    let again = read_bytes(&network_to_timm(&filled, &BTreeMap::new())).expect("a checkpoint");
    let before = read_bytes(&network_to_timm(&fresh, &BTreeMap::new())).expect("a checkpoint");
    let value = |file: &Checkpoint, name: &str| file.values(name).expect("a tensor");
    assert_eq!(value(&again, "pos_embed"), positions);
    assert_eq!(value(&again, "head.weight"), value(&before, "head.weight"));
    let name = "blocks.4.mlp.fc2.weight";
    assert_eq!(value(&again, name), value(&checkpoint, name));
    assert_ne!(value(&again, name), value(&before, name));
}

/// A zip file of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut directory = Vec::new();
    for (name, contents) in entries {
        let header = bytes.len() as u32;
        let sizes: Vec<u8> = [0, contents.len() as u32, contents.len() as u32]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let length = (name.len() as u16).to_le_bytes();
        bytes.extend(b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0");
        bytes.extend(&sizes);
        bytes.extend(length);
        bytes.extend([0, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend(*contents);
        directory.extend(b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0");
        directory.extend(&sizes);
        directory.extend(length);
        directory.extend([0; 12]);
        directory.extend(header.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count);
    bytes.extend(count);
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// A checkpoint with this pickle and one storage of 4 values.
fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    zip(&[("a/data.pkl", pickle), ("a/data/0", &[0; 16])])
}

/// Opcodes for a text.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = vec![b'X'];
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Opcodes for an integer.
fn number(number: i64) -> Vec<u8> {
    let mut bytes = vec![0x8a, 8];
    bytes.extend(number.to_le_bytes());
    bytes
}

/// The pickle of `{"cls_token": a tensor}`.
fn tensor_pickle(count: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let numbers = |values: &[i64]| {
        let mut bytes = vec![b'('];
        bytes.extend(values.iter().flat_map(|value| number(*value)));
        bytes.push(b't');
        bytes
    };
    [
        b"\x80\x02}".to_vec(),
        text("cls_token"),
        b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(),
        b"(".to_vec(),
        text("storage"),
        b"ctorch\nFloatStorage\n".to_vec(),
        text("0"),
        text("cpu"),
        number(count),
        b"tQ".to_vec(),
        number(offset),
        numbers(shape),
        numbers(strides),
        b"\x89}tRs.".to_vec(),
    ]
    .concat()
}

#[test]
fn a_pickle_is_not_executed() {
    let folder = tempfile::tempdir().expect("a folder");
    let marker = folder.path().join("executed");
    let command = text(&format!("touch {}", marker.display()));
    let calls: [(&[u8], &str); 5] = [
        (b"cos\nsystem\n", "os.system"),
        (b"cposix\nsystem\n", "posix.system"),
        (b"cbuiltins\nexec\n", "builtins.exec"),
        (b"csubprocess\ncheck_output\n", "subprocess.check_output"),
        (b"\x8c\x02os\x8c\x05popen\x93", "os.popen"),
    ];
    for (function, name) in calls {
        let pickle = [b"\x80\x04", function, &command, b"\x85R."].concat();
        let message = refused(&with_pickle(&pickle));
        assert!(
            message.contains(&format!("calls `{name}`"))
                && message.contains("nothing was executed"),
            "{message}"
        );
    }
    // The same by other opcodes: making an instance, and the oldest way to call.
    let instance = [b"\x80\x02cos\nsystem\n", command.as_slice(), b"\x85\x81."].concat();
    assert!(refused(&with_pickle(&instance)).contains("calls `os.system`"));
    let oldest = [b"(".as_slice(), &command, b"ios\nsystem\n."].concat();
    assert!(refused(&with_pickle(&oldest)).contains("opcode 0x69"));
    // A function that nobody knows is neither looked up nor called.
    let unknown = [b"\x80\x02cevil\nrun\n", command.as_slice(), b"\x85R."].concat();
    assert!(refused(&with_pickle(&unknown)).contains("a Python object `evil.run`"));
    assert!(!marker.exists());
}

#[test]
fn sizes_in_a_pickle_are_not_believed() {
    let huge = u64::MAX.to_le_bytes();
    let cases: [(Vec<u8>, &str); 9] = [
        ([b"\x80\x04\x8d".as_slice(), &huge].concat(), "cut off"),
        ([b"\x80\x04\x8e".as_slice(), &huge].concat(), "cut off"),
        (b"\x80\x02X\xff\xff\xff\xffa".to_vec(), "cut off"),
        (b"\x80\x02\x8b\xff\xff\xff\xffa".to_vec(), "cut off"),
        (
            tensor_pickle(4, 0, &[1 << 40, 1 << 40], &[1, 1]),
            "asks for more values",
        ),
        (tensor_pickle(1 << 60, 0, &[4], &[1]), "and has 16 bytes"),
        (tensor_pickle(4, 1, &[4], &[1]), "goes beyond the 4 values"),
        (
            tensor_pickle(4, 0, &[2], &[1 << 62]),
            "goes beyond the 4 values",
        ),
        (tensor_pickle(4, 0, &[4], &[-1]), "negative"),
    ];
    for (pickle, phrase) in cases {
        let message = refused(&with_pickle(&pickle));
        assert!(message.contains(phrase), "no `{phrase}` in: {message}");
    }
    // A view that repeats its values could ask for any amount of memory.
    let repeated = tensor_pickle(4, 0, &[1 << 30], &[0]);
    assert!(refused(&with_pickle(&repeated)).contains("asks for more values"));
    // One that lies inside is read, and is no network.
    let inside = tensor_pickle(4, 1, &[3], &[1]);
    assert!(refused(&with_pickle(&inside)).contains("blocks"));
}

#[test]
fn a_pickle_cannot_exhaust_memory_or_the_stack() {
    let many =
        |piece: &[u8], times: usize| [b"\x80\x02", piece.repeat(times).as_slice(), b"."].concat();
    let bombs = [
        many(b"]", 3_000_000),
        many(b"N2", 2_000_000),
        many(b"(", 3_000_000),
        [b"\x80\x02N".to_vec(), b"q\0h\0".repeat(1_500_000)].concat(),
        // A list of 1,000 pairs, from which dictionaries are made over and over.
        [
            b"\x80\x02](".to_vec(),
            b"NN\x86".repeat(1_000),
            b"eq\0".to_vec(),
            b"ccollections\nOrderedDict\nh\0\x85R0".repeat(100_000),
            b".".to_vec(),
        ]
        .concat(),
    ];
    for bomb in &bombs {
        let message = refused(&with_pickle(bomb));
        assert!(message.contains("items in its pickle"), "{message}");
    }
    // Tuples in tuples in tuples.
    let deep = [
        b"\x80\x02)".to_vec(),
        b"\x85".repeat(1_000_000),
        b".".to_vec(),
    ]
    .concat();
    assert!(refused(&with_pickle(&deep)).contains("a tuple"));
    // A list and a dictionary that hold themselves.
    for own in [
        b"\x80\x02]q\0h\0a.".as_slice(),
        b"\x80\x02}q\0X\x01\0\0\0ah\0s.",
    ] {
        assert!(refused(&with_pickle(own)).contains("instead of tensors by name"));
    }
    let long = [text(&"a".repeat(1000)), text("b"), b"\x93.".to_vec()].concat();
    assert!(refused(&with_pickle(&long)).contains("too long"));
}

#[test]
fn damaged_pickles_are_errors() {
    let cases: [(&[u8], &str); 9] = [
        (b"", "cut off"),
        (b"\x80\x09.", "protocol 9"),
        (b".", "the stack is empty"),
        (b"\x80\x02e.", "a mark is missing"),
        (b"\x80\x02(0.", "the stack is empty"),
        (b"\x80\x02h\x05.", "not remembered"),
        (b"\x80\x02}Ns.", "the stack is empty"),
        (b"\x80\x02}(Nu.", "a key has no value"),
        (b"\x80\x02NQ.", "no tuple"),
    ];
    for (pickle, phrase) in cases {
        let message = refused(&with_pickle(pickle));
        assert!(message.contains(phrase), "no `{phrase}` in: {message}");
    }
}

#[test]
fn zip_files_are_not_believed() {
    let good = tensor_pickle(4, 0, &[4], &[1]);
    let storage = [0; 16].as_slice();
    let named = |name: &str| zip(&[("a/data.pkl", good.as_slice()), (name, storage)]);
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "a\\..\\b",
        "C:x",
        "a/../data/0",
    ] {
        let message = refused(&named(name));
        assert!(message.contains("leads out of the archive"), "{message}");
    }
    assert!(refused(&named("a/data.pkl")).contains("two entries"));
    assert!(refused(&named("b/data.pkl")).contains("or several"));
    assert!(refused(&named("a/data/1")).contains("storage `0` is missing"));
    let big = zip(&[
        ("a/data.pkl", &good),
        ("a/byteorder", b"big"),
        ("a/data/0", storage),
    ]);
    assert!(refused(&big).contains("big-endian"));

    let whole = named("a/data/0");
    assert!(refused(&whole).contains("blocks"), "it is whole");
    for length in 0..whole.len() {
        assert!(read_bytes(&whole[..length]).is_err(), "{length} bytes");
    }
    let find = |signature: &[u8]| {
        whole
            .windows(4)
            .position(|window| window == signature)
            .expect("such a part")
    };
    let directory = find(b"PK\x01\x02");
    let mut compressed = whole.clone();
    compressed[directory + 10] = 8;
    assert!(refused(&compressed).contains("compressed"));
    let mut encrypted = whole.clone();
    encrypted[directory + 8] = 1;
    assert!(refused(&encrypted).contains("encrypted"));
    let mut large = whole.clone();
    large[directory + 20..directory + 28].fill(0xfe);
    assert!(refused(&large).contains("lies beyond"));
    let mut moved = whole.clone();
    moved[directory + 42] = 1;
    assert!(refused(&moved).contains("does not begin where"));
    let mut overlapping = whole.clone();
    let second = directory + 46 + "a/data.pkl".len();
    overlapping[second + 42..second + 46].fill(0);
    overlapping[second + 42] = 2;
    assert!(refused(&overlapping).contains("overlap"));
    let end = find(b"PK\x05\x06");
    let mut endless = whole.clone();
    endless[end + 8..end + 12].fill(0xfe);
    assert!(refused(&endless).contains("cut off"));
}

/// A safetensors file with this header and so many bytes of values.
fn with_header(header: &str, values: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; values]);
    bytes
}

#[test]
fn safetensors_headers_are_not_believed() {
    let tensor = |name: &str, shape: &str, from: usize, to: usize| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let two = |one: String, other: String| format!("{{{one},{other}}}");
    let cases = [
        (
            with_header(
                &two(tensor("a", "[4]", 0, 16), tensor("b", "[4]", 8, 24)),
                24,
            ),
            "invalid offset",
        ),
        (
            with_header(
                &two(tensor("a", "[4]", 0, 16), tensor("b", "[4]", 20, 36)),
                36,
            ),
            "invalid offset",
        ),
        (
            with_header(&format!("{{{}}}", tensor("a", "[4]", 0, 16)), 15),
            "15 follow",
        ),
        (
            with_header(&format!("{{{}}}", tensor("a", "[4]", 0, 16)), 17),
            "17 follow",
        ),
        (
            with_header(&format!("{{{}}}", tensor("a", "[5]", 0, 16)), 16),
            "invalid shape",
        ),
        (
            with_header(
                &format!("{{{}}}", tensor("a", "[4294967296,4294967296,4]", 0, 16)),
                16,
            ),
            "overflow",
        ),
        (with_header("{\"a\":", 0), "EOF"),
        (
            [u64::MAX.to_le_bytes().as_slice(), b"{}"].concat(),
            "header should have 18446744073709551615 bytes",
        ),
    ];
    for (bytes, phrase) in cases {
        let message = refused(&bytes);
        assert!(message.contains(phrase), "no `{phrase}` in: {message}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let message = read(folder.path()).expect_err("a folder is no file");
    assert!(message.to_string().contains("cannot read it"), "{message}");
    assert!(refused(b"hello").contains("neither a safetensors file"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever happened to a file, reading it ends with weights or an error.
    #[test]
    fn damage_is_survived(at in 0_usize..20_000, byte: u8, from_the_end: bool) {
        let mut bytes = std::fs::read(reference("meta_checkpoint.pth")).expect("a file");
        let length = bytes.len();
        let at = if from_the_end { length - 1 - at } else { at };
        bytes[at] = byte;
        if let Ok(checkpoint) = read_bytes(&bytes) {
            let names: Vec<String> = checkpoint.names().map(ToOwned::to_owned).collect();
            for name in names {
                let values = checkpoint.values(&name).expect("what was checked");
                prop_assert_eq!(values.values.len(), values.shape.iter().product::<usize>());
            }
        }
    }
}
