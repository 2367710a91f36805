//! A global allocator that keeps large blocks: a training step frees and asks for the same sizes
//! again, and the pages must not go back to the system, which would zero them at every step.
//!
//! Invariant: which path a block takes (kept here, or straight to [`System`]) and the size it
//! really has follow from its [`Layout`] alone, so that freeing needs no record of the allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Blocks of at least this many bytes are kept; smaller ones are [`System`]'s business.
const LARGE: usize = 64 << 10;

/// Size and alignment of a huge page; blocks of at least this size are aligned to it.
const HUGE_PAGE: usize = 2 << 20;

/// Alignment of the blocks between [`LARGE`] and [`HUGE_PAGE`].
const PAGE: usize = 4 << 10;

/// How many free blocks are kept at most; a step of a network of 24 blocks frees about 3,000.
const SLOTS: usize = 4096;

/// Upper bound of the bytes kept, whatever the machine has.
const LIMIT: usize = 4 << 30;

/// Keeps freed blocks of 64 KiB and more for the next request of their size class.
///
/// Sizes are rounded up to eight classes per power of two, so at most an eighth of a block is
/// unused. Blocks of 2 MiB and more are aligned to 2 MiB and, on Linux, marked for huge pages.
/// The bytes kept stay below a quarter of the physical memory and below 4 GiB; beyond that, and
/// when the system has no more memory, the blocks that were free for longest are given back.
///
/// ```
/// use incubate::allocator::LargeBlocks;
///
/// #[global_allocator]
/// static ALLOCATOR: LargeBlocks = LargeBlocks::new();
/// ```
pub struct LargeBlocks {
    free: Mutex<FreeBlocks>,
    limit: OnceLock<usize>,
}

impl LargeBlocks {
    /// An allocator that keeps nothing yet.
    pub const fn new() -> Self {
        Self {
            free: Mutex::new(FreeBlocks::new()),
            limit: OnceLock::new(),
        }
    }

    /// Nothing that runs under the lock can panic halfway, so a poisoned lock is still in order.
    fn free(&self) -> MutexGuard<'_, FreeBlocks> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kept block of this layout, or a new one; null if there is no memory.
    fn take(&self, block: Layout) -> *mut u8 {
        if let Some(address) = self.free().take(block.size()) {
            return address.as_ptr();
        }
        let mut address = new_block(block);
        if address.is_null() {
            // What is kept may be what is missing.
            self.give_back_all();
            address = new_block(block);
        }
        address
    }

    fn keep(&self, address: NonNull<u8>, block: Layout) {
        let limit = *self.limit.get_or_init(default_limit);
        // The lock is not held while the system frees a block.
        while let Some(oldest) = self.free().evict(block.size(), limit) {
            give_back(oldest);
        }
        let entry = Entry {
            address,
            size: block.size(),
        };
        if let Err(entry) = self.free().put(entry, limit) {
            give_back(entry);
        }
    }

    fn give_back_all(&self) {
        while let Some(entry) = self.free().take_oldest() {
            give_back(entry);
        }
    }
}

impl Default for LargeBlocks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LargeBlocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (blocks, bytes) = {
            let free = self.free();
            (free.count, free.bytes)
        };
        formatter
            .debug_struct("LargeBlocks")
            .field("free_blocks", &blocks)
            .field("free_bytes", &bytes)
            .finish()
    }
}

impl Drop for LargeBlocks {
    fn drop(&mut self) {
        self.give_back_all();
    }
}

// SAFETY: every block comes from `System` with a layout at least as large and as aligned as the
// one asked for, `block_layout` answers the same at allocation and at release, and a block leaves
// the free list, under a lock, before it is handed out again.
unsafe impl GlobalAlloc for LargeBlocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match block_layout(layout) {
            Some(block) => self.take(block),
            // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(block) = block_layout(layout) else {
            // SAFETY: as in `alloc`.
            return unsafe { System.alloc_zeroed(layout) };
        };
        let address = self.take(block);
        if !address.is_null() {
            // SAFETY: the block is ours alone and `block` is at least as large as `layout`.
            unsafe { address.write_bytes(0, layout.size()) };
        }
        address
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        match (block_layout(layout), NonNull::new(address)) {
            (Some(block), Some(address)) => self.keep(address, block),
            // SAFETY: `alloc` passed this layout to `System`, too.
            _ => unsafe { System.dealloc(address, layout) },
        }
    }

    unsafe fn realloc(&self, address: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, is a valid size.
        let resized = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old, new) = (block_layout(layout), block_layout(resized));
        if old.is_none() && new.is_none() {
            // SAFETY: `alloc` passed this layout to `System`, too.
            return unsafe { System.realloc(address, layout, size) };
        }
        if old == new {
            return address;
        }
        // SAFETY: `size` is not zero, as the caller promises.
        let moved = unsafe { self.alloc(resized) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least as long as what is copied and do not overlap, and
            // the caller gives up the old one.
            unsafe {
                ptr::copy_nonoverlapping(address, moved, layout.size().min(size));
                self.dealloc(address, layout);
            }
        }
        moved
    }
}

/// The layout that a block really has if this allocator keeps it, `None` if it is `System`'s.
fn block_layout(layout: Layout) -> Option<Layout> {
    if layout.size() < LARGE {
        return None;
    }
    // The three bits below the leading one make eight classes per power of two.
    let step = 1 << (layout.size().ilog2() - 3);
    let size = layout.size().checked_next_multiple_of(step)?;
    let align = if size >= HUGE_PAGE { HUGE_PAGE } else { PAGE };
    if layout.align() > align {
        return None;
    }
    Layout::from_size_align(size, align).ok()
}

/// A block that nobody has used yet; null if there is no memory.
fn new_block(block: Layout) -> *mut u8 {
    // SAFETY: `block_layout` makes no layout of size zero.
    let address = unsafe { System.alloc(block) };
    if !address.is_null() && block.size() >= HUGE_PAGE {
        ask_for_huge_pages(address, block.size());
    }
    address
}

fn give_back(entry: Entry) {
    let align = if entry.size >= HUGE_PAGE {
        HUGE_PAGE
    } else {
        PAGE
    };
    // SAFETY: the entry's size and this alignment are those of the layout that `block_layout`
    // made and `new_block` passed to `System`; an entry is taken out of the list only once.
    unsafe {
        let block = Layout::from_size_align_unchecked(entry.size, align);
        System.dealloc(entry.address.as_ptr(), block);
    }
}

/// One page fault then brings 2 MiB instead of 4 KiB. It is a hint: a refusal changes nothing.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_huge_pages(address: *mut u8, size: usize) {
    // SAFETY: the range is a block of ours, aligned to 2 MiB; the advice changes no content.
    unsafe { libc::madvise(address.cast(), size, libc::MADV_HUGEPAGE) };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn ask_for_huge_pages(_address: *mut u8, _size: usize) {}

/// A quarter of the physical memory, at most [`LIMIT`].
#[cfg(all(target_os = "linux", not(miri)))]
fn default_limit() -> usize {
    // SAFETY: `sysconf` reads nothing of ours.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    // It answers -1 if it does not know.
    let bytes = usize::try_from(pages)
        .unwrap_or(0)
        .saturating_mul(usize::try_from(page).unwrap_or(0));
    (bytes / 4).min(LIMIT)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn default_limit() -> usize {
    LIMIT / 4
}

/// A free block; its size is that of its class.
#[derive(Clone, Copy)]
struct Entry {
    address: NonNull<u8>,
    size: usize,
}

// SAFETY: nobody but the entry refers to the block, so it may move to another thread.
unsafe impl Send for Entry {}

/// The free blocks in the order in which they came, in a fixed array: an allocator must not
/// allocate to do its work.
struct FreeBlocks {
    entries: [Entry; SLOTS],
    count: usize,
    bytes: usize,
}

impl FreeBlocks {
    const fn new() -> Self {
        let nothing = Entry {
            address: NonNull::dangling(),
            size: 0,
        };
        Self {
            entries: [nothing; SLOTS],
            count: 0,
            bytes: 0,
        }
    }

    /// The block of this class that came last, whose pages are the likeliest to be in a cache.
    fn take(&mut self, size: usize) -> Option<NonNull<u8>> {
        let index = self.entries[..self.count]
            .iter()
            .rposition(|entry| entry.size == size)?;
        Some(self.remove(index).address)
    }

    fn take_oldest(&mut self) -> Option<Entry> {
        (self.count > 0).then(|| self.remove(0))
    }

    /// A block that must go before one of `size` bytes fits below `limit`.
    fn evict(&mut self, size: usize, limit: usize) -> Option<Entry> {
        if size > limit {
            return None;
        }
        let fits = self.count < SLOTS && self.bytes + size <= limit;
        if fits { None } else { self.take_oldest() }
    }

    /// Keeps the block, or answers it where there is no room, as after a race for the last slot.
    fn put(&mut self, entry: Entry, limit: usize) -> Result<(), Entry> {
        if self.count == SLOTS || self.bytes + entry.size > limit {
            return Err(entry);
        }
        self.entries[self.count] = entry;
        self.count += 1;
        self.bytes += entry.size;
        Ok(())
    }

    fn remove(&mut self, index: usize) -> Entry {
        let entry = self.entries[index];
        self.entries.copy_within(index + 1..self.count, index);
        self.count -= 1;
        self.bytes -= entry.size;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    fn with_limit(limit: usize) -> LargeBlocks {
        LargeBlocks {
            free: Mutex::new(FreeBlocks::new()),
            limit: OnceLock::from(limit),
        }
    }

    fn kept(allocator: &LargeBlocks) -> (usize, usize) {
        let free = allocator.free();
        (free.count, free.bytes)
    }

    /// A block full of `byte`.
    fn filled(allocator: &LargeBlocks, size: usize, byte: u8) -> *mut u8 {
        // SAFETY: the size is not zero, and the block is `size` bytes long.
        unsafe {
            let address = allocator.alloc(layout(size));
            assert!(!address.is_null());
            address.write_bytes(byte, size);
            address
        }
    }

    fn release(allocator: &LargeBlocks, address: *mut u8, size: usize) {
        // SAFETY: the tests release each block once, with the layout it was made with.
        unsafe { allocator.dealloc(address, layout(size)) };
    }

    fn bytes<'a>(address: *mut u8, size: usize) -> &'a [u8] {
        // SAFETY: the tests read blocks that they hold, wrote in full, and release afterwards.
        unsafe { std::slice::from_raw_parts(address, size) }
    }

    #[test]
    fn classes_waste_at_most_an_eighth() {
        let mut size = LARGE;
        while size < 1 << 34 {
            let block = block_layout(layout(size)).unwrap();
            assert!(block.size() >= size);
            assert!(block.size() - size <= size / 8, "{size}: {block:?}");
            assert_eq!(block.size() % PAGE, 0);
            // The class of a class is itself: a release may pass either size.
            assert_eq!(block_layout(layout(block.size())), Some(block));
            size += size / 37 + 1;
        }
    }

    #[test]
    fn small_and_oddly_aligned_blocks_are_not_kept() {
        let huge = Layout::from_size_align(4 * MIB, 4 * MIB).unwrap();
        let page = Layout::from_size_align(MIB, 2 * PAGE).unwrap();
        let small = layout(LARGE - 1);
        let allocator = LargeBlocks::new();
        for layout in [huge, page, small] {
            assert_eq!(block_layout(layout), None);
            // SAFETY: the size is not zero, and the block is released with its own layout.
            unsafe {
                let address = allocator.alloc_zeroed(layout);
                assert_eq!(address.addr() % layout.align(), 0);
                allocator.dealloc(address, layout);
            }
        }
        assert_eq!(kept(&allocator), (0, 0));
        let most = Layout::from_size_align(isize::MAX as usize, 1).unwrap();
        assert_eq!(block_layout(most), None, "rounding up would overflow");
    }

    #[test]
    fn a_freed_block_serves_the_next_request_of_its_class() {
        let allocator = LargeBlocks::new();
        let first = filled(&allocator, 3 * MIB, 1);
        assert_eq!(first.addr() % HUGE_PAGE, 0);
        release(&allocator, first, 3 * MIB);
        assert_eq!(kept(&allocator), (1, 3 * MIB));
        let others = [2 * MIB, 5 * MIB].map(|size| (filled(&allocator, size, 2), size));
        for (other, _) in others {
            assert_ne!(other, first, "a block of another class");
        }
        let again = filled(&allocator, 3 * MIB - 100, 3);
        assert_eq!(again, first);
        assert_eq!(kept(&allocator), (0, 0));
        release(&allocator, again, 3 * MIB - 100);
        for (other, size) in others {
            release(&allocator, other, size);
        }
    }

    #[test]
    fn a_reused_block_is_zeroed_on_demand() {
        let allocator = LargeBlocks::new();
        for size in [LARGE, 2 * MIB + 1] {
            let dirty = filled(&allocator, size, 0xff);
            release(&allocator, dirty, size);
            // SAFETY: the size is not zero.
            let clean = unsafe { allocator.alloc_zeroed(layout(size)) };
            assert_eq!(clean, dirty, "the block is the reused one");
            assert!(bytes(clean, size).iter().all(|&byte| byte == 0));
            release(&allocator, clean, size);
        }
    }

    #[test]
    fn growing_and_shrinking_keep_the_content() {
        let allocator = LargeBlocks::new();
        let sizes = [
            1000,
            LARGE - 1,
            LARGE,
            LARGE + 1,
            3 * MIB,
            3 * MIB - 7,
            MIB,
            10,
        ];
        let mut address = filled(&allocator, sizes[0], 7);
        for pair in sizes.windows(2) {
            // SAFETY: the block has the layout of the step before, and the new size is not zero.
            address = unsafe { allocator.realloc(address, layout(pair[0]), pair[1]) };
            let common = pair[0].min(pair[1]);
            assert!(bytes(address, common).iter().all(|&byte| byte == 7));
            // SAFETY: the block is that long now.
            unsafe { address.write_bytes(7, pair[1]) };
        }
        release(&allocator, address, 10);

        let block = filled(&allocator, 3 * MIB, 1);
        // SAFETY: as above.
        let same = unsafe { allocator.realloc(block, layout(3 * MIB), 3 * MIB - 1) };
        assert_eq!(same, block, "a size of the same class stays where it is");
        release(&allocator, same, 3 * MIB - 1);
    }

    #[test]
    fn the_oldest_blocks_go_first_at_the_limit() {
        let allocator = with_limit(4 * MIB);
        let blocks: Vec<_> = (0..5).map(|byte| filled(&allocator, MIB, byte)).collect();
        for &block in &blocks {
            release(&allocator, block, MIB);
            assert!(kept(&allocator).1 <= 4 * MIB);
        }
        let addresses: Vec<_> = {
            let free = allocator.free();
            free.entries[..free.count]
                .iter()
                .map(|entry| entry.address.as_ptr())
                .collect()
        };
        assert_eq!(addresses, blocks[1..]);

        let large = filled(&allocator, 5 * MIB, 1);
        release(&allocator, large, 5 * MIB);
        assert_eq!(
            kept(&allocator),
            (4, 4 * MIB),
            "larger than the limit: not kept, evicts none"
        );
        allocator.give_back_all();
        assert_eq!(kept(&allocator), (0, 0));
    }

    #[test]
    fn full_slots_make_room() {
        let entry = Entry {
            address: NonNull::dangling(),
            size: LARGE,
        };
        let mut free = FreeBlocks::new();
        while free.count < SLOTS {
            assert!(free.evict(LARGE, usize::MAX).is_none());
            assert!(free.put(entry, usize::MAX).is_ok());
        }
        assert!(free.put(entry, usize::MAX).is_err());
        assert!(free.evict(LARGE, usize::MAX).is_some());
        assert!(free.put(entry, usize::MAX).is_ok());
    }

    #[test]
    fn threads_never_share_a_block() {
        let allocator = with_limit(8 * MIB);
        let rounds = if cfg!(miri) { 5 } else { 300 };
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let allocator = &allocator;
                scope.spawn(move || {
                    let mut held: Vec<(*mut u8, usize, u8)> = Vec::new();
                    for round in 0..rounds {
                        let size = LARGE + (round * 7 + thread) % 9 * (LARGE / 2);
                        let byte = (round * 4 + thread) as u8;
                        held.push((filled(allocator, size, byte), size, byte));
                        if held.len() == 5 {
                            let (address, size, byte) = held.swap_remove(round % 5);
                            assert!(bytes(address, size).iter().all(|&read| read == byte));
                            release(allocator, address, size);
                        }
                    }
                    for (address, size, _) in held {
                        release(allocator, address, size);
                    }
                });
            }
        });
        let (blocks, bytes) = kept(&allocator);
        assert!(blocks > 0 && bytes <= 8 * MIB);
    }
}
