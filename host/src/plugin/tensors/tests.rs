use burn::tensor::{Device, Tensor};

use super::*;

fn arena(limits: Limits) -> Arena {
    let mut arena = Arena::new(&limits);
    arena.set_device(&number(0.0));
    arena
}

fn number(value: f32) -> AnyTensor {
    AnyTensor::from_tensor(Tensor::<1>::from_floats([value], &Device::flex())).unwrap()
}

/// A second handle with the number of `handle`, as a plugin could keep one.
fn same(handle: &Resource<Handle>) -> Resource<Handle> {
    Resource::new_borrow(handle.rep())
}

#[test]
fn a_handle_of_an_earlier_call_finds_nothing() {
    let mut arena = arena(Limits::default());
    let old = arena.insert(number(1.0)).unwrap();
    let dropped = arena.insert(number(2.0)).unwrap();
    assert!(arena.take(&same(&dropped)).is_some());
    assert!(arena.take(&same(&dropped)).is_none());
    arena.clear();
    arena.set_device(&number(0.0));
    let new = arena.insert(number(3.0)).unwrap();
    assert_ne!(new.rep(), old.rep());
    for gone in [&old, &dropped] {
        assert!(matches!(arena.get(gone), Err(Refusal::Gone)));
        assert!(matches!(arena.read(gone), Err(Refusal::Gone)));
        assert!(matches!(
            arena.apply_pair(&new, gone, |other| Operation::Add(other)),
            Err(Refusal::Gone)
        ));
        assert!(arena.take(gone).is_none());
    }
    assert_eq!(arena.live(), 1);
    assert_eq!(arena.read(&new).unwrap(), [3.0]);
    let fault = Fault::from(Refusal::Gone);
    assert!(fault.message.contains("the tensor is gone"));
}

#[test]
fn handles_that_are_dropped_late_do_not_wear_an_instance() {
    let mut arena = arena(Limits::default());
    let mut kept = Vec::new();
    for call in 0..2 * KEPT_MAX {
        kept.push(arena.insert(number(1.0)).unwrap());
        arena.clear();
        if call % 1000 == 999 {
            for handle in kept.drain(..) {
                arena.take(&handle);
            }
        }
    }
    assert!(!arena.is_worn());
    for _ in 0..=KEPT_MAX {
        arena.insert(number(1.0)).unwrap();
        arena.clear();
    }
    assert!(arena.is_worn());
}

#[test]
fn the_numbers_of_handles_end_with_a_refusal() {
    let mut arena = arena(Limits::default());
    arena.first = u32::MAX - 1;
    assert!(arena.is_worn());
    let last = arena.insert(number(1.0)).unwrap();
    assert_eq!(last.rep(), u32::MAX - 1);
    assert!(matches!(arena.insert(number(1.0)), Err(Refusal::Gone)));
    arena.clear();
}

#[test]
fn bytes_are_counted_before_they_are_used() {
    let mut arena = arena(Limits {
        device_bytes: 12,
        ..Limits::default()
    });
    let row = arena.make(vec![1.0, 2.0], &[2]).unwrap();
    let refused = arena.apply_pair(&row, &row, |other| Operation::Add(other));
    let Err(Refusal::Limit(breach)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (breach.limit, breach.wanted),
        (Limit::DeviceBytes, Some(16))
    );
    assert_eq!(arena.take_breach(), Some(breach));
    assert!(matches!(arena.read(&row), Err(Refusal::Limit(_))));
    arena.apply(&row, Operation::Sum(&[])).unwrap();
    arena.clear();
    assert!(matches!(
        arena.make(vec![1.0], &[1]),
        Err(Refusal::OutsideCompute)
    ));
    assert!(matches!(
        arena.make(vec![1.0], &[2]),
        Err(Refusal::Tensor(TensorError::Data { .. }))
    ));
}
