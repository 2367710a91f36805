//! `incubate export`: weights of a run for timm and others.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use super::arguments::ExportOptions;
use super::number::thousands;
use super::{print, print_json};
use crate::model::Architecture;
use crate::run::{ParcelError, RunFolder, write_export};
use crate::training::{self, ExportLayout, Exported};

/// Reads the argument of `--layout`.
pub(super) fn parse_layout(text: &str) -> Result<ExportLayout, String> {
    match text {
        "timm" => Ok(ExportLayout::Timm),
        "stages" => Ok(ExportLayout::Stages),
        _ => Err("there are `timm` and `stages`".to_owned()),
    }
}

/// Reads the name of the file to write.
pub(super) fn parse_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path
        .extension()
        .is_some_and(|ending| ending == "safetensors")
    {
        return Ok(path);
    }
    Err("it must end in `.safetensors`, the only format that is written: files of `torch.save` are programs, and everything that loads those loads safetensors".to_owned())
}

/// Writes the network of a finished unit into a file.
pub(super) fn export(options: &ExportOptions) -> Result<()> {
    let Some((folder, experiment, record)) = RunFolder::open(&options.run)? else {
        return Err(ParcelError::NoRun {
            path: options.run.clone(),
        }
        .into());
    };
    let exported = training::export(&folder, &experiment, &record, &options.unit, options.layout)?;
    write_export(&options.out, &exported.bytes)?;
    let file = options.out.display().to_string();
    let lines = match options.layout {
        ExportLayout::Timm => timm_lines(&exported, &file),
        ExportLayout::Stages => stage_lines(&exported, &file),
    };
    if options.json {
        return print_json(&json!({
            "file": file,
            "unit": exported.unit.to_string(),
            "sha256": crate::digest::sha256(&exported.bytes),
            "parameters": exported.parameters,
            "depths": exported.depths,
            "model": exported.architecture,
            "python": lines.join("\n"),
        }));
    }
    print(&format!(
        "wrote {} to `{file}`: {} parameters, {} bytes; in Python:",
        exported.unit,
        thousands(exported.parameters),
        thousands(exported.bytes.len() as u64)
    ))?;
    print("")?;
    for line in lines {
        print(&format!("  {line}"))?;
    }
    Ok(())
}

/// A text as Python writes it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A truth value as Python writes it.
const fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// What loads the file into timm's network.
fn timm_lines(exported: &Exported, file: &str) -> Vec<String> {
    let Architecture::Vit(config) = &exported.architecture;
    vec![
        "from functools import partial".to_owned(),
        "from safetensors.torch import load_file".to_owned(),
        "from timm.models.vision_transformer import VisionTransformer".to_owned(),
        "from torch import nn".to_owned(),
        "model = VisionTransformer(".to_owned(),
        format!(
            "    img_size={}, patch_size={}, in_chans={}, num_classes={},",
            config.image_size, config.patch_size, config.channels, config.classes
        ),
        format!(
            "    embed_dim={}, depth={}, num_heads={}, mlp_ratio={}, qkv_bias={},",
            config.width,
            config.depth,
            config.heads,
            config.mlp_ratio,
            python(config.qkv_bias)
        ),
        format!(
            "    norm_layer=partial(nn.LayerNorm, eps={:e}),",
            config.layer_norm_eps
        ),
        ")".to_owned(),
        format!(
            "model.load_state_dict(load_file({}), strict=True)",
            quoted(file)
        ),
        "model.eval()".to_owned(),
    ]
}

/// What turns the file into a checkpoint of the reference implementation.
fn stage_lines(exported: &Exported, file: &str) -> Vec<String> {
    vec![
        "import torch".to_owned(),
        "from safetensors.torch import load_file".to_owned(),
        format!("tensors = load_file({})", quoted(file)),
        "stages = [".to_owned(),
        "    {name[len(f\"stages.{stage}.\"):]: tensor for name, tensor in tensors.items()".to_owned(),
        "     if name.startswith(f\"stages.{stage}.\")}".to_owned(),
        format!("    for stage in range({})", exported.depths.len()),
        "]".to_owned(),
        "torch.save({\"model_stages\": stages}, \"checkpoint.pth\")  # for --meta_model, --incubation_models, --finetune".to_owned(),
    ]
}
