//! Learning rates that fall from the head to the embedding, layer by layer (BEiT, Bao et al., 2022).
//!
//! The embedding is layer 0, block i of the whole network layer i + 1, and norm and head are the last
//! layer, whose rate is that of the schedule. In a hybrid the layers are those of the hybrid.

/// What the layer of a parameter makes of the rate: `decay` to the power of the number of layers
/// between it and the head. `name` begins with `stages.I.`; `depths` are the blocks of all stages.
pub(super) fn scale(decay: f64, name: &str, depths: &[usize]) -> f64 {
    let last = depths.iter().sum::<usize>() + 1;
    let above = last - layer(name, depths);
    decay.powi(above as i32)
}

/// The layer of a parameter.
fn layer(name: &str, depths: &[usize]) -> usize {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["stages", stage, "blocks", block, ..] => {
            let number = |text: &str| text.parse::<usize>().unwrap_or_default();
            let before: usize = depths[..number(stage)].iter().sum();
            before + number(block) + 1
        }
        [_, _, "pos_embed" | "cls_token" | "patch_embed", ..] => 0,
        _ => depths.iter().sum::<usize>() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_count_through_the_whole_network() {
        let depths = [1, 3, 1];
        for (name, expected) in [
            ("stages.0.pos_embed", 0),
            ("stages.0.cls_token", 0),
            ("stages.0.patch_embed.proj.weight", 0),
            ("stages.0.blocks.0.attn.qkv.weight", 1),
            ("stages.1.blocks.0.norm1.bias", 2),
            ("stages.1.blocks.2.mlp.fc2.weight", 4),
            ("stages.2.blocks.0.mlp.fc1.weight", 5),
            ("stages.2.norm.weight", 6),
            ("stages.2.head.bias", 6),
        ] {
            assert_eq!(layer(name, &depths), expected, "{name}");
        }
        assert_eq!(scale(0.5, "stages.2.head.weight", &depths), 1.0);
        assert_eq!(scale(0.5, "stages.0.pos_embed", &depths), 0.5_f64.powi(6));
        assert_eq!(scale(1.0, "stages.0.pos_embed", &depths), 1.0);
    }
}
