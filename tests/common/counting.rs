//! The allocator for a test that measures how much memory something takes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Counts the bytes that are allocated, and writes each of them. Otherwise resident memory would stay below what is
/// allocated, and would keep growing, while there are pages that were never written.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// How many bytes are allocated now.
pub fn allocated() -> usize {
    ALLOCATED.load(Ordering::Relaxed)
}

// SAFETY: the system's allocator does the work with unchanged arguments; only memory that it returned is written.
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
