//! What gives way where the values of a round do not fit: loads that are repeated, or sums that wait on the stack.

use super::{LONG_ROUND, Lives, ON_STACK, Relief};
use crate::vector::build::Builder;
use crate::vector::ir::{Elem, Function, Loop, ParamKind, Scalar, Step, Type, Value};

/// Rows of weights and of activations whose products a round adds up.
const ROWS: i32 = 2;
const BATCH: i32 = 4;

/// Registers of a target of which none is taken.
const REGISTERS: usize = 16;

/// A loop whose rounds multiply each of some rows of weights with each row of activations, in so many steps, and add the products
/// to a sum for each pair. If they are `seen`, the round uses what it made of them once more.
fn products(lanes: u16, steps: i32, seen: bool) -> Function {
    let ty = Type::new(Elem::F32, lanes);
    let mut b = Builder::new("f");
    let x = b.param("x", ParamKind::Read);
    let y = b.param("y", ParamKind::Write);
    let n = b.param("n", ParamKind::Scalar(Scalar::Dim(0)));
    let from = b.number_of(0);
    let init: Vec<Value> = (0..ROWS * BATCH).map(|i| b.load(ty, y, 64 * i)).collect();
    let (_, mut sums) = b.open_loop("i", from, n, 1, &init);
    let mut round: Vec<Option<Value>> = vec![None; sums.len()];
    for step in 0..steps {
        let mut load = |at: i32| b.load(ty, x, 64 * (step * (ROWS + BATCH) + at));
        let weights: Vec<Value> = (0..ROWS).map(&mut load).collect();
        let batch: Vec<Value> = (ROWS..ROWS + BATCH).map(&mut load).collect();
        for (row, w) in weights.iter().enumerate() {
            for (column, x) in batch.iter().enumerate() {
                let sum = &mut round[row * BATCH as usize + column];
                *sum = Some(match *sum {
                    None => b.fmul(*w, *x),
                    Some(sum) => b.mul_add(*w, *x, sum),
                });
            }
        }
    }
    for (sum, of_round) in sums.iter_mut().zip(round) {
        *sum = b.fadd(*sum, of_round.expect("steps"));
        if seen {
            let used = b.fmul(*sum, *sum);
            b.store(used, y, 0);
        }
    }
    for (at, value) in (0..).zip(b.close_loop(&sums)) {
        b.store(value, y, 64 * at);
    }
    b.finish()
}

fn the_loop(function: &Function) -> &Loop {
    let mut loops = function.body.iter().filter_map(|step| match step {
        Step::Loop(l) => Some(l),
        Step::Let(..) | Step::Store { .. } => None,
    });
    loops.next().expect("a loop")
}

fn lives(function: &Function) -> Lives {
    Lives::of(function, the_loop(function), |_| false)
}

fn cheapest(function: &Function) -> Relief {
    Relief::cheapest(&lives(function), the_loop(function), REGISTERS)
}

/// Sums that stay in registers.
fn sums_held(function: &Function, relief: &Relief) -> usize {
    let carried = &the_loop(function).carried;
    let held = carried
        .iter()
        .filter(|c| relief.lives.values.contains_key(&c.inside));
    held.count()
}

#[test]
fn sums_of_a_long_round_wait_where_loads_are_used_often() {
    let function = products(4, 8, false);
    assert!(the_loop(&function).body.len() >= LONG_ROUND);
    let lives = lives(&function);
    assert!(lives.pressure() > REGISTERS);
    let relief = cheapest(&function);
    assert!(relief.lives.pressure() <= REGISTERS);
    let all = (ROWS * BATCH) as usize;
    let waiting = all - sums_held(&function, &relief);
    assert!(waiting > 0);
    // No more of them wait than must: each frees two registers at most.
    assert!(relief.lives.pressure() + 2 > REGISTERS);
    let loads = Relief::by_loads(lives, REGISTERS);
    assert!(relief.accesses + ON_STACK * waiting < loads.accesses);
}

#[test]
fn sums_of_a_short_round_stay() {
    let function = products(4, 2, false);
    assert!(the_loop(&function).body.len() < LONG_ROUND);
    let relief = cheapest(&function);
    assert_eq!(sums_held(&function, &relief), (ROWS * BATCH) as usize);
    assert!(!relief.repeated.is_empty());
}

#[test]
fn sums_that_the_round_uses_again_stay() {
    let function = products(4, 8, true);
    let relief = cheapest(&function);
    assert_eq!(sums_held(&function, &relief), (ROWS * BATCH) as usize);
}

#[test]
fn only_loads_that_are_held_where_registers_run_out_are_repeated() {
    let lives = lives(&products(4, 8, false));
    let room = lives.pressure() - 1;
    let crowded = lives.crowded(room);
    let steps: usize = crowded.iter().map(|s| s.len()).sum();
    assert!(steps > 0 && steps < the_loop(&products(4, 8, false)).body.len() / 2);
    let relief = Relief::by_loads(lives.clone(), room);
    assert!(relief.lives.pressure() <= room);
    for load in &relief.repeated {
        let held = lives.values[load].from..lives.values[load].until + 1;
        assert!(
            crowded
                .iter()
                .any(|s| held.start < s.end && s.start < held.end)
        );
    }
}

#[test]
fn a_value_of_two_registers_takes_two_accesses() {
    let [narrow, wide] = [4, 8].map(|lanes| {
        let lives = lives(&products(lanes, 8, false));
        let room = lives.pressure() - 1;
        Relief::by_loads(lives, room)
    });
    assert_eq!(narrow.repeated.len(), wide.repeated.len());
    assert!(narrow.accesses > 0);
    assert_eq!(2 * narrow.accesses, wide.accesses);
}
