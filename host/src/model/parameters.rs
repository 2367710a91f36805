//! Names of parameters: the path of fields, as timm writes it, without the family of a stage.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The path to the parameter that a visitor or mapper is at.
#[derive(Debug, Default)]
pub(crate) struct Path {
    /// Field names; empty where a name does not count.
    names: Vec<String>,
    /// The type that owns the innermost field, as burn writes it.
    owners: Vec<String>,
}

impl Path {
    /// To be called by `enter_module`.
    pub(crate) fn enter(&mut self, name: &str, container_type: &str) {
        // The variant of an enum is a family of networks, which names no parameter.
        let name = if container_type.starts_with("Enum:") {
            ""
        } else {
            name
        };
        self.names.push(name.to_owned());
        self.owners.push(container_type.to_owned());
    }

    /// To be called by `exit_module`.
    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.owners.pop();
    }

    /// The name, such as `blocks.0.attn.qkv.weight`.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self
            .names
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect();
        names.join(".")
    }

    /// Whether the parameter is a matrix that weight files have transposed.
    pub(crate) fn is_linear(&self) -> bool {
        self.owners
            .last()
            .is_some_and(|owner| owner == "Struct:Linear")
    }
}

/// A parameter without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What identifies it as long as the network lives, whatever its values.
    pub id: ParamId,
    /// The name inside the module that was asked.
    pub name: String,
    /// The dimensions as they lie in memory.
    pub shape: Vec<usize>,
    /// Whether it is trained.
    pub trained: bool,
    /// Whether weight files have it transposed.
    pub transposed: bool,
}

impl Parameter {
    /// The dimensions as weight files have them.
    pub(crate) fn file_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        shape
    }
}

/// The parameters of a network or a stage, in the order of their fields.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    #[derive(Default)]
    struct Collector {
        path: Path,
        parameters: Vec<Parameter>,
    }
    impl ModuleVisitor for Collector {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.parameters.push(Parameter {
                id: param.id,
                name: self.path.name(),
                shape: param.dims().to_vec(),
                trained: param.is_require_grad(),
                transposed: self.path.is_linear(),
            });
        }
    }
    let mut collector = Collector::default();
    module.visit(&mut collector);
    collector.parameters
}
