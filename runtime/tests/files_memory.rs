//! Memory that reading a file takes is in proportion to the file, whatever the file says.

use lowbit::files::{Dtype, Kind, TensorFile, Value, format_of};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

/// The system's allocator, which remembers how much a thread held at most.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    // Without the thread's counters (it is ending) there is nothing to count.
    let _ = HELD.try_with(|held| {
        held.set(held.get().saturating_add(bytes));
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

fn shrink(bytes: usize) {
    let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged; the counters are plain cells that do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`, which are those of the system's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        shrink(layout.size());
        // SAFETY: `at` came from the system's allocator with this layout.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grow(size);
        shrink(layout.size());
        // SAFETY: as in `dealloc`; the caller keeps the promises for `size`.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that reading takes at most, for each byte of the file and for any file.
const PER_BYTE: usize = 64;
const FIXED: usize = 1 << 15;

fn check(kind: Kind, bytes: &[u8], what: &str) {
    let given = bytes.to_vec();
    let before = HELD.get();
    MOST.set(before);
    if let Ok(file) = TensorFile::from_bytes(kind, given) {
        for (_, value) in file.metadata() {
            if let Value::List(list) = value {
                let _ = file.items(list);
            }
        }
    }
    let taken = MOST.get() - before;
    let limit = FIXED + PER_BYTE * bytes.len();
    assert!(
        taken <= limit,
        "{what}: {taken} bytes taken to read {} bytes",
        bytes.len()
    );
}

#[test]
fn memory_is_in_proportion_to_the_file() {
    // The formats are made once, and not counted.
    format_of(&Dtype::new("ggml:0")).expect("f32");
    let extremes = [1u64 << 16, 1 << 31, 1 << 40, 1 << 60, u64::MAX];
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (kind, folder) in [
        (Kind::Gguf, "gguf"),
        (Kind::Safetensors, "safetensors"),
        (Kind::Npy, "npy"),
    ] {
        let mut paths: Vec<_> = fs::read_dir(seeds.join(folder))
            .expect("the seeds are there")
            .map(|e| e.expect("an entry").path())
            .collect();
        paths.sort();
        for path in paths {
            let name = path.display().to_string();
            let bytes = fs::read(&path).expect("a seed is read");
            check(kind, &bytes, &name);
            for at in 0..bytes.len() {
                for value in extremes {
                    let mut damaged = bytes.clone();
                    for (to, from) in damaged[at..].iter_mut().zip(value.to_le_bytes()) {
                        *to = from;
                    }
                    check(kind, &damaged, &name);
                }
            }
        }
    }
}
