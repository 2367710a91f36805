//! The names of a Vision Transformer's parameters, known before there is one.

use super::config::VitConfig;

impl VitConfig {
    /// The stage-local names of stage `index` of a network with these depths, in the order of the
    /// weight file.
    pub(in crate::model) fn parameter_names(&self, depths: &[usize], index: usize) -> Vec<String> {
        let mut names = Vec::new();
        let mut add = |owner: &str, fields: &[&str]| {
            names.extend(fields.iter().map(|field| format!("{owner}{field}")));
        };
        let both = [".weight", ".bias"];
        if index == 0 {
            add("", &["pos_embed", "cls_token"]);
            add("patch_embed.proj", &both);
        }
        for block in 0..depths[index] {
            let block = format!("blocks.{block}");
            add(&format!("{block}.norm1"), &both);
            let qkv = if self.qkv_bias { &both[..] } else { &both[..1] };
            add(&format!("{block}.attn.qkv"), qkv);
            for owner in ["attn.proj", "norm2", "mlp.fc1", "mlp.fc2"] {
                add(&format!("{block}.{owner}"), &both);
            }
        }
        if index + 1 == depths.len() {
            add("norm", &both);
            add("head", &both);
        }
        names
    }
}
