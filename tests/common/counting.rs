//! The allocator of a test that asks how much memory something takes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts the bytes that are allocated, and writes each of them: else what is resident would go on growing below what is
/// allocated for as long as there are pages that were never written.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// How many are allocated now.
pub fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

// SAFETY: the system's allocator does the work, with the arguments as they came; what is written is what it gave.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            unsafe { memory.write_bytes(0xA5, layout.size()) };
        }
        memory
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
