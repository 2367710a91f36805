//! Plugins that no compiler makes: core modules written by hand, wrapped as components of the
//! contract, and components of strange forms.

use std::path::Path;

use incubate::plugin::{Kind, Limits};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::guests::{assert_alive, file, outcome, snapshot};

/// A partition scheme in text, with holes.
#[derive(Default)]
struct Module {
    /// Declarations after the memory.
    declarations: &'static str,
    /// What `describe` does before it answers.
    describe: &'static str,
    /// What `divide` does before it answers.
    divide: &'static str,
    /// What the allocation of arguments does before it answers.
    allocate: &'static str,
    /// What happens after `divide` was answered.
    afterwards: &'static str,
    /// Replaces the memory.
    memory: Option<&'static str>,
    /// Replaces the answer of `describe`: positions and lengths of name, version, summary, and
    /// parameters.
    info: Option<[u32; 8]>,
}

impl Module {
    /// The component.
    fn component(&self) -> Vec<u8> {
        let Self {
            declarations,
            describe,
            divide,
            allocate,
            afterwards,
            ..
        } = self;
        let memory = self.memory.unwrap_or("(memory (export \"memory\") 2)");
        let info = self.info.unwrap_or([512, 5, 528, 5, 544, 5, 0, 0]);
        let info: String = info
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        // Four modules of two blocks each, one meta block.
        let modules = "\\02\\00\\00\\00\\01\\00\\00\\00".repeat(4);
        let text = format!(
            r#"(module
            (import "incubate:plugin/log@0.1.0" "write"
                (func $write (param i32 i32 i32)))
            {memory}
            (global $next (mut i32) (i32.const 8192))
            (data (i32.const 256) "{info}")
            (data (i32.const 512) "guest")
            (data (i32.const 528) "1.0.0")
            (data (i32.const 544) "Hello")
            (data (i32.const 640) "\00\00\00\00\c0\02\00\00\04\00\00\00")
            (data (i32.const 704) "{modules}")
            {declarations}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                {allocate}
                (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15))
                    (i32.const -16)))
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get 3))))
            (func (export "incubate:plugin/description@0.1.0#describe") (result i32)
                {describe}
                (i32.const 256))
            (func (export "incubate:plugin/partition@0.1.0#configure")
                (param i32 i32) (result i32)
                (i32.const 600))
            (func (export "incubate:plugin/partition@0.1.0#divide") (param i32) (result i32)
                {divide}
                (i32.const 640))
            (func (export "cabi_post_incubate:plugin/partition@0.1.0#divide") (param i32)
                {afterwards}))"#
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        let mut resolve = Resolve::default();
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("wit/plugin@0.1.0");
        let (package, _) = resolve.push_path(contract).unwrap();
        let world = resolve
            .select_world(&[package], Some("partition-scheme"))
            .unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default()
            .module(&module)
            .unwrap()
            .encode()
            .unwrap()
    }
}

fn try_all(name: &str, guests: Vec<(&str, Vec<u8>)>) {
    let outcomes: Vec<(String, String)> = guests
        .into_iter()
        .map(|(name, bytes)| {
            let (_folder, path) = file(&bytes);
            let outcome = outcome(&path, Kind::PartitionScheme, None, &Limits::default());
            assert_alive();
            (name.to_owned(), outcome)
        })
        .collect();
    snapshot(name, &outcomes);
}

/// A guest that crashes in a function of this name, which the host shows without the marks of the
/// compiler.
fn named(name: &str) -> Vec<u8> {
    Module {
        declarations: format!("(func ${name} unreachable)").leak(),
        divide: format!("(call ${name})").leak(),
        ..Module::default()
    }
    .component()
}

/// A Rust name of pairs of the same, nested: its long form has 2 to the `depth` parts.
fn doubling(depth: usize) -> String {
    const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    // References count from behind `_R`, where three letters stand before the first pair.
    let references: String = (0..=depth)
        .map(|level| format!("B{}_E", char::from(DIGITS[2 + depth - level])))
        .collect();
    format!("_RMC0{}p{references}", "T".repeat(depth))
}

/// The plain guest, for tests that damage it.
pub(super) fn plain() -> Vec<u8> {
    Module::default().component()
}

#[test]
fn written_by_hand() {
    const LOOP: &str = "(loop $l (br $l))";
    /// Says `Hello` as information.
    const SAY: &str = "(call $write (i32.const 1) (i32.const 544) (i32.const 5))";
    let guest = |module: Module| module.component();
    let divide = |divide| {
        guest(Module {
            divide,
            ..Module::default()
        })
    };
    let declared = |declarations| {
        guest(Module {
            declarations,
            ..Module::default()
        })
    };
    let describes = |info| {
        guest(Module {
            info: Some(info),
            ..Module::default()
        })
    };
    let allocates = |allocate| {
        guest(Module {
            allocate,
            ..Module::default()
        })
    };
    let memory = |memory| {
        guest(Module {
            memory: Some(memory),
            ..Module::default()
        })
    };
    try_all(
        "written-by-hand",
        vec![
            ("nothing special", plain()),
            (
                "the start function loops",
                declared("(func $s (loop $l (br $l))) (start $s)"),
            ),
            (
                "the start function traps",
                declared("(func $s unreachable) (start $s)"),
            ),
            (
                "the start function writes without end",
                declared(
                    "(func $s (loop $l (call $write (i32.const 1) (i32.const 0) (i32.const 512)) (br $l))) (start $s)",
                ),
            ),
            (
                "the start function recurses",
                declared("(func $s (call $s)) (start $s)"),
            ),
            (
                "a table grows",
                guest(Module {
                    declarations: "(table $t 1 funcref)",
                    divide: "(drop (table.grow $t (ref.null func) (i32.const 1000000))) unreachable",
                    ..Module::default()
                }),
            ),
            (
                "a table is born large",
                declared("(table 50000000 funcref)"),
            ),
            (
                "there are seventy tables",
                declared("(table 1 funcref)".repeat(70).leak()),
            ),
            (
                "a memory is born large",
                memory("(memory (export \"memory\") 65536)"),
            ),
            (
                "a memory of 64 bits asks for all there is, until the sum wraps",
                guest(Module {
                    declarations: "(memory $big i64 1)",
                    divide: "(drop (memory.grow $big (i64.const 0x0000ffffffffffff)))
                        (drop (memory.grow $big (i64.const 0x0000fffffffffffe)))
                        (drop (memory.grow $big (i64.const -1)))
                        (drop (memory.grow 0 (i32.const 200)))
                        (drop (memory.grow $big (i64.const 0x0000ffffffffffff)))
                        (if (i32.eq (memory.grow 0 (i32.const 200)) (i32.const -1))
                            (then unreachable))",
                    ..Module::default()
                }),
            ),
            (
                "there are seventy memories",
                declared("(memory 1)".repeat(70).leak()),
            ),
            (
                "the answer lies outside the memory",
                divide("(return (i32.const 0x7ffffff0))"),
            ),
            (
                "the answer is not aligned",
                divide("(return (i32.const 641))"),
            ),
            (
                "the answer has a case that there is not",
                divide("(i32.store8 (i32.const 640) (i32.const 7))"),
            ),
            (
                "the list is longer than the memory",
                divide("(i32.store (i32.const 648) (i32.const -1))"),
            ),
            (
                "the list is as long as the memory",
                divide(
                    "(i32.store (i32.const 644) (i32.const 0)) (i32.store (i32.const 648) (i32.const 16384))",
                ),
            ),
            (
                "a division by zero",
                divide("(drop (i32.div_s (i32.const 1) (i32.const 0)))"),
            ),
            (
                "a call of a function that is none",
                guest(Module {
                    declarations: "(table $t 1 funcref)",
                    divide: "(call_indirect $t (i32.const 0))",
                    ..Module::default()
                }),
            ),
            (
                "a name outside the memory",
                describes([0x7fff_0000, 5, 528, 5, 544, 5, 0, 0]),
            ),
            (
                "a name longer than the memory",
                describes([512, u32::MAX, 528, 5, 544, 5, 0, 0]),
            ),
            (
                "a name that is no text",
                guest(Module {
                    describe: "(i32.store (i32.const 512) (i32.const -1))",
                    ..Module::default()
                }),
            ),
            (
                "more parameters than memory",
                describes([512, 5, 528, 5, 544, 5, 0, u32::MAX]),
            ),
            (
                "parameters of zeros",
                describes([512, 5, 528, 5, 544, 5, 1024, 3]),
            ),
            ("the allocation of arguments loops", allocates(LOOP)),
            ("the allocation of arguments calls the host", allocates(SAY)),
            (
                "the allocation of arguments answers nonsense",
                allocates("(return (i32.const -16))"),
            ),
            (
                "the allocation of arguments is not aligned",
                allocates("(return (i32.const 8193))"),
            ),
            (
                "the allocation of arguments answers the same place",
                allocates("(return (i32.const 256))"),
            ),
            (
                "the allocation of arguments traps",
                allocates("unreachable"),
            ),
            (
                "after the answer it loops",
                guest(Module {
                    afterwards: LOOP,
                    ..Module::default()
                }),
            ),
            (
                "after the answer it calls the host",
                guest(Module {
                    afterwards: SAY,
                    ..Module::default()
                }),
            ),
            (
                "a message from outside the memory",
                divide("(call $write (i32.const 1) (i32.const -8) (i32.const 100))"),
            ),
            (
                "a message of a level that there is not",
                divide("(call $write (i32.const 99) (i32.const 544) (i32.const 5))"),
            ),
            ("a name that doubles at every level", named(&doubling(40))),
            (
                "a name of pointers to pointers",
                named(&format!("_Z1f{}i", "P".repeat(50_000))),
            ),
            (
                "a function with escape sequences in its name",
                guest(Module {
                    declarations: r#"(func $"\1b[31mred\07\0aerror: forged" unreachable)"#,
                    divide: r#"(call $"\1b[31mred\07\0aerror: forged")"#,
                    ..Module::default()
                }),
            ),
        ],
    );
}

/// A component that says in text what it is.
fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A number as components write it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// Components within components.
fn nested(depth: usize) -> Vec<u8> {
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut bytes = EMPTY.to_vec();
    for _ in 0..depth {
        let mut outer = EMPTY.to_vec();
        outer.push(4);
        outer.extend(leb(bytes.len()));
        outer.extend(bytes);
        bytes = outer;
    }
    bytes
}

#[test]
fn strange_components() {
    let many = |count: usize| -> String {
        (0..count)
            .map(|index| format!("(export \"export-{index}\" (instance $i))"))
            .collect()
    };
    let long = "long-".repeat(20_000) + "name";
    let imports: String = (0..1_000)
        .map(|index| format!("(import \"a:b/c{index}@1.0.0\" (instance))"))
        .collect();
    try_all(
        "strange-components",
        vec![
            ("nothing", Vec::new()),
            ("a text", b"(component)".to_vec()),
            ("a core module", text("(module)")),
            ("an empty component", text("(component)")),
            (
                "a core module that bombs the memory",
                text("(module (memory 65536) (func $s (loop $l (br $l))) (start $s))"),
            ),
            (
                "nine hundred exports",
                text(&format!("(component (instance $i) {})", many(900))),
            ),
            (
                "ten thousand exports",
                text(&format!("(component (instance $i) {})", many(10_000))),
            ),
            (
                "an export with a very long name",
                text(&format!(
                    "(component (instance $i) (export \"{long}\" (instance $i)))"
                )),
            ),
            (
                "a thousand unknown imports",
                text(&format!("(component {imports})")),
            ),
            (
                "an import of the system",
                text(
                    "(component (import \"wasi:filesystem/types@0.2.0\" (instance))
                    (instance $i) (export \"incubate:plugin/partition@0.1.0\" (instance $i)))",
                ),
            ),
            (
                "an import of another contract",
                text(
                    "(component (import \"incubate:plugin/tensors@9.0.0\" (instance))
                    (instance $i) (export \"incubate:plugin/partition@0.1.0\" (instance $i)))",
                ),
            ),
            (
                "an import from a URL with escape sequences",
                text("(component (import \"url=<https://a.b/\\1b[31m>\" (component)))"),
            ),
            (
                "exports without functions",
                text(
                    "(component (instance $i)
                    (export \"incubate:plugin/description@0.1.0\" (instance $i))
                    (export \"incubate:plugin/partition@0.1.0\" (instance $i)))",
                ),
            ),
            ("a hundred components deep", nested(100)),
            ("three thousand components deep", nested(3_000)),
            (
                "a section longer than the file",
                b"\0asm\x0d\0\x01\0\x04\xff\xff\xff\xff\x0f".to_vec(),
            ),
            (
                "a number without end",
                b"\0asm\x0d\0\x01\0\x04\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            ),
        ],
    );
}
