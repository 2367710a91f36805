//! What crosses between the host and the device that trains: every upload and every read goes through
//! here and is counted, so that a test can say what an update costs.
//!
//! A GPU works behind the host. An upload takes its place in the line of work; a read waits for
//! everything before it, unless it is begun now and asked for later.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use burn::tensor::kind::Basic;
use burn::tensor::{Device, Tensor, TensorData, Transaction, read_sync};

static READS: AtomicU64 = AtomicU64::new(0);
static UPLOADS: AtomicU64 = AtomicU64::new(0);
static UPLOADED_BYTES: AtomicU64 = AtomicU64::new(0);
static LAUNCHES: AtomicU64 = AtomicU64::new(0);

/// What crossed since this process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Times that numbers left the device, or that the host waited for it. Each was a wait for
    /// everything before it, for the host or for a thread beside it.
    pub reads: u64,
    /// Tensors that were put on the device.
    pub uploads: u64,
    /// Their bytes as they lie there.
    pub uploaded_bytes: u64,
    /// Kernels that a GPU was given; on the CPU there are none.
    pub launches: u64,
}

impl Traffic {
    /// Up to now.
    pub fn now() -> Self {
        Self {
            reads: READS.load(Ordering::Relaxed),
            uploads: UPLOADS.load(Ordering::Relaxed),
            uploaded_bytes: UPLOADED_BYTES.load(Ordering::Relaxed),
            launches: LAUNCHES.load(Ordering::Relaxed),
        }
    }

    /// What crossed since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            uploads: self.uploads - earlier.uploads,
            uploaded_bytes: self.uploaded_bytes - earlier.uploaded_bytes,
            launches: self.launches - earlier.launches,
        }
    }
}

/// Counts a kernel.
#[cfg(feature = "wgpu")]
pub(super) fn count_launch() {
    LAUNCHES.fetch_add(1, Ordering::Relaxed);
}

/// Counts a read that is done elsewhere, for tensors without a compile-time rank.
pub(crate) fn count_read() {
    READS.fetch_add(1, Ordering::Relaxed);
}

/// Counts an upload that is done elsewhere, for tensors without a compile-time rank.
pub(crate) fn count_upload(bytes: usize) {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    UPLOADED_BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

/// The tensor of `data` on the device. Waits for nothing.
pub(crate) fn upload<const D: usize, K: Basic>(data: TensorData, device: &Device) -> Tensor<D, K> {
    let tensor = Tensor::from_data(data, device);
    count_upload(tensor.shape().num_elements() * tensor.dtype().size());
    tensor
}

/// The numbers of a tensor, after everything that was asked of the device before.
///
/// # Panics
///
/// When the device fails.
pub(crate) fn read<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> TensorData {
    count_read();
    tensor.into_data()
}

/// Waits until the device has done everything that was asked of it.
///
/// # Panics
///
/// When the device fails.
pub(crate) fn wait_for(device: &Device) {
    count_read();
    device.sync().expect("the device works");
}

/// Numbers on their way off the device, which goes on with what it is asked for meanwhile.
pub(crate) struct Reading(State);

enum State {
    Arrived(Vec<TensorData>),
    OnTheWay(JoinHandle<Vec<TensorData>>),
}

/// The end of a read, whatever thread waits for it.
type Arrival = Pin<Box<dyn Future<Output = Vec<TensorData>> + Send>>;

impl Reading {
    /// Asks for the numbers of all tensors of `transaction` as they are now: one copy, in line with
    /// the work. Waits for nothing that the device does.
    pub(crate) fn begin(transaction: Transaction) -> Self {
        count_read();
        let mut arrival: Arrival = Box::pin(async {
            let read = transaction.execute_async().await;
            read.expect("the device works")
        });
        // The first look hands the copy to the device, from the thread whose work it follows.
        match arrival
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(data) => Self(State::Arrived(data)),
            Poll::Pending => Self::wait_beside(arrival),
        }
    }

    /// A thread takes delivery as soon as there is something: until then the backend keeps one busy
    /// with asking the driver.
    fn wait_beside(arrival: Arrival) -> Self {
        let beside = thread::Builder::new()
            .name("numbers".to_owned())
            .spawn(|| read_sync(arrival));
        Self(State::OnTheWay(
            beside.expect("a thread can be started to wait for the device"),
        ))
    }

    /// Whether [`Self::take`] would not wait.
    pub(crate) fn has_arrived(&self) -> bool {
        match &self.0 {
            State::Arrived(_) => true,
            State::OnTheWay(thread) => thread.is_finished(),
        }
    }

    /// The numbers in the order of the transaction; waits for them.
    ///
    /// # Panics
    ///
    /// When the device fails.
    pub(crate) fn take(self) -> Vec<TensorData> {
        match self.0 {
            State::Arrived(data) => data,
            State::OnTheWay(thread) => match thread.join() {
                Ok(data) => data,
                Err(cause) => std::panic::resume_unwind(cause),
            },
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.has_arrived() {
            "arrived"
        } else {
            "on the way"
        };
        formatter.debug_tuple("Reading").field(&state).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_cpu_arrive_at_once_and_in_order() {
        let device = Device::flex();
        let tensor = |values: Vec<f32>| {
            let length = values.len();
            upload::<1, burn::tensor::Float>(TensorData::new(values, [length]), &device)
        };
        let transaction = Transaction::default()
            .register(tensor(vec![1.0, 2.0]))
            .register(tensor(vec![3.0]));
        let reading = Reading::begin(transaction);
        assert!(reading.has_arrived());
        let values = reading.take().into_iter().map(|data| data.iter().collect());
        let values: Vec<Vec<f32>> = values.collect();
        assert_eq!(values, [vec![1.0, 2.0], vec![3.0]]);
    }

    #[test]
    fn numbers_that_are_late_are_waited_for_beside() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let arrival = Box::pin(async move {
            receiver.recv().expect("the sender is here");
            vec![TensorData::new(vec![4.0_f32], [1])]
        });
        let reading = Reading::wait_beside(arrival);
        assert!(!reading.has_arrived());
        sender.send(()).expect("the receiver is here");
        assert_eq!(reading.take()[0].iter::<f32>().collect::<Vec<_>>(), [4.0]);
    }

    #[test]
    fn what_crosses_is_counted() {
        let before = Traffic::now();
        let data = TensorData::new(vec![1.0_f32, 2.0, 3.0], [3]);
        let tensor = upload::<1, burn::tensor::Float>(data, &Device::flex());
        read(tensor);
        // Other tests of this process count, too.
        let crossed = Traffic::now().since(before);
        assert!(crossed.reads >= 1 && crossed.uploads >= 1, "{crossed:?}");
        assert!(crossed.uploaded_bytes >= 12, "{crossed:?}");
    }
}
