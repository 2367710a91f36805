//! Which parameters weight decay leaves alone.

use serde::{Deserialize, Serialize};

use crate::model::parameters::Parameter;

/// Parameters that share a learning rate and a weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Matrices: they decay.
    Decay,
    /// Biases, norms and embeddings: they do not.
    NoDecay,
}

impl Group {
    /// Both groups, in the order of the learning rates that a step takes.
    pub const ALL: [Self; 2] = [Self::Decay, Self::NoDecay];

    /// The name that schedules see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decay => "decay",
            Self::NoDecay => "no-decay",
        }
    }
}

/// How parameters are sorted into groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// No decay for vectors, for what is named a bias, and for position embedding and class token.
    #[default]
    Standard,
    /// As the reference implementation of Deep Incubation does it: a module that is trained alone
    /// has its position embedding and its class token decayed.
    Reference,
}

impl Decay {
    /// The group of a parameter; `alone` if a single module is trained.
    pub(super) fn group(self, parameter: &Parameter, alone: bool) -> Group {
        let last = parameter.name.rsplit('.').next().unwrap_or_default();
        let embedding = matches!(last, "pos_embed" | "cls_token");
        let spared = embedding && !(alone && self == Self::Reference);
        if parameter.shape.len() == 1 || last == "bias" || spared {
            Group::NoDecay
        } else {
            Group::Decay
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ParamId;

    use super::*;

    fn group(decay: Decay, name: &str, shape: &[usize], alone: bool) -> Group {
        let parameter = Parameter {
            id: ParamId::new(),
            name: name.to_owned(),
            shape: shape.to_vec(),
            trained: true,
            transposed: false,
        };
        decay.group(&parameter, alone)
    }

    #[test]
    fn only_matrices_decay() {
        for decay in [Decay::Standard, Decay::Reference] {
            let of = |name, shape: &[usize]| group(decay, name, shape, true);
            assert_eq!(
                of("stages.0.blocks.0.attn.qkv.weight", &[4, 12]),
                Group::Decay
            );
            assert_eq!(of("patch_embed.proj.weight", &[4, 1, 2, 2]), Group::Decay);
            assert_eq!(of("stages.0.blocks.0.norm1.weight", &[4]), Group::NoDecay);
            assert_eq!(of("stages.0.blocks.0.attn.qkv.bias", &[12]), Group::NoDecay);
            // By its name, whatever its shape.
            assert_eq!(of("relative.bias", &[3, 3]), Group::NoDecay);
        }
    }

    #[test]
    fn the_reference_decays_the_embeddings_of_a_lone_module() {
        for name in ["stages.0.pos_embed", "cls_token"] {
            let of = |decay, alone| group(decay, name, &[1, 5, 4], alone);
            assert_eq!(of(Decay::Standard, false), Group::NoDecay);
            assert_eq!(of(Decay::Standard, true), Group::NoDecay);
            assert_eq!(of(Decay::Reference, false), Group::NoDecay);
            assert_eq!(of(Decay::Reference, true), Group::Decay);
        }
    }
}
