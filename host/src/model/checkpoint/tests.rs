use super::*;
use ::safetensors::SafeTensors;

/// A file of the reference implementation's own making.
fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/parity")
        .join(name)
}

#[test]
fn a_reference_checkpoint_is_the_model_that_it_was_saved_from() {
    let checkpoint = read(&reference("meta_checkpoint.pth")).expect("a checkpoint");
    assert_eq!(checkpoint.key(), "model_stages");
    assert_eq!(checkpoint.layout(), Layout::Stages);
    let bytes = std::fs::read(reference("meta.safetensors")).expect("the same weights");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let stages = checkpoint.dimensions().stages.clone();
    assert_eq!(stages, [1, 1, 1]);
    let mut compared = 0;
    for (name, view) in file.iter() {
        let rest = name.strip_prefix("stages.").expect("names by stage");
        let (stage, local) = rest.split_once('.').expect("a stage");
        let flat = match layout::block_of(local) {
            Some((block, rest)) => format!(
                "blocks.{}.{rest}",
                block + stage.parse::<usize>().expect("a number")
            ),
            None => local.to_owned(),
        };
        let values = checkpoint.values(&flat).expect("a tensor");
        assert_eq!(values.shape, view.shape(), "{flat}");
        let (expected, _) = view.data().as_chunks::<4>();
        let expected: Vec<f32> = expected.iter().copied().map(f32::from_le_bytes).collect();
        assert_eq!(values.values, expected, "{flat}");
        compared += 1;
    }
    assert_eq!(compared, checkpoint.names().count());
}
