//! Operations that keep their inputs alone for the backward pass and are computed again there
//! (Chen et al., 2016): time for memory.
//!
//! The backward pass within a backward pass has a graph of its own, which shares no node with the
//! one around it.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, BackendTensor, DispatchAutodiffContext, DispatchTensor,
    DispatchTensorKind, Flex,
};
use burn::tensor::Tensor;

/// The most inputs that an operation may have. The graph wants to know their number when it is
/// compiled; places that are left over hold constants.
const INPUTS: usize = 16;

/// What is computed again.
pub(crate) trait Recompute<const D: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the inputs in their order, given that of the output; none where none is
    /// wanted. Tensors on either side record nothing.
    fn gradients(self, gradient: Tensor<D>) -> Vec<Option<DispatchTensor>>;
}

/// `output`, which records nothing, as the result of an operation on `inputs` that keeps `again` for
/// the backward pass.
///
/// # Panics
///
/// With more than 16 inputs, or with inputs that record nothing.
pub(crate) fn keep_inputs<const D: usize>(
    inputs: Vec<DispatchTensor>,
    output: Tensor<D>,
    again: impl Recompute<D>,
) -> Tensor<D> {
    assert!(inputs.len() <= INPUTS, "{} inputs", inputs.len());
    let context = inputs[0].autodiff;
    let kind = match output.into_dispatch().kind {
        DispatchTensorKind::Flex(output) => record::<Flex, D, _>(inputs, output.float(), again),
        #[cfg(feature = "wgpu")]
        DispatchTensorKind::Cube(output) => {
            record::<burn::backend::Cube, D, _>(inputs, output.float(), again)
        }
        DispatchTensorKind::Autodiff(_) => panic!("the output records already"),
    };
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Autodiff(Box::new(kind)),
        autodiff: context,
    })
}

/// A backend whose tensors can be handed out.
trait Handed: Backend {
    fn kind(tensor: BackendTensor<Self>) -> DispatchTensorKind;

    fn tensor(kind: DispatchTensorKind) -> BackendTensor<Self>;
}

impl Handed for Flex {
    fn kind(tensor: BackendTensor<Self>) -> DispatchTensorKind {
        DispatchTensorKind::Flex(tensor)
    }

    fn tensor(kind: DispatchTensorKind) -> BackendTensor<Self> {
        match kind {
            DispatchTensorKind::Flex(tensor) => tensor,
            _ => panic!("a tensor of another backend"),
        }
    }
}

#[cfg(feature = "wgpu")]
impl Handed for burn::backend::Cube {
    fn kind(tensor: BackendTensor<Self>) -> DispatchTensorKind {
        DispatchTensorKind::Cube(tensor)
    }

    fn tensor(kind: DispatchTensorKind) -> BackendTensor<Self> {
        match kind {
            DispatchTensorKind::Cube(tensor) => tensor,
            _ => panic!("a tensor of another backend"),
        }
    }
}

/// Puts the operation into the graph of its inputs.
fn record<B: Handed, const D: usize, R: Recompute<D>>(
    inputs: Vec<DispatchTensor>,
    output: FloatTensor<B>,
    again: R,
) -> DispatchTensorKind {
    let constant = || <Autodiff<B> as AutodiffBackend>::from_inner(output.clone()).node();
    let mut nodes: Vec<NodeGuard> = inputs
        .into_iter()
        .map(|input| match input.kind {
            DispatchTensorKind::Autodiff(kind) => B::tensor(*kind).autodiff().node(),
            _ => panic!("an input that records nothing"),
        })
        .collect();
    nodes.resize_with(INPUTS, constant);
    let nodes: [NodeGuard; INPUTS] = nodes
        .try_into()
        .unwrap_or_else(|_| unreachable!("the length was set"));
    let output = match Again::<R, D>(PhantomData)
        .prepare::<NoCheckpointing>(nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prepared) => prepared.finish(again, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    B::kind(BackendTensor::Autodiff(output))
}

/// The step of the backward pass.
#[derive(Debug)]
struct Again<R, const D: usize>(PhantomData<fn() -> R>);

impl<B: Handed, R: Recompute<D>, const D: usize> Backward<B, INPUTS> for Again<R, D> {
    type State = R;

    fn backward(
        self,
        ops: Ops<Self::State, INPUTS>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = gradients.consume::<B>(&ops.node);
        let gradient = Tensor::from_dispatch(DispatchTensor {
            kind: B::kind(BackendTensor::Float(gradient)),
            autodiff: DispatchAutodiffContext::Disabled,
        });
        let found = ops.state.gradients(gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<B>(parent.id, B::tensor(gradient.kind).float());
            }
        }
    }
}
