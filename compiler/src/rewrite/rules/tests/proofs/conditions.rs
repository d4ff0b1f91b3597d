//! What conditions and computed variables say of the numbers of a statement.

use super::Stop;
use super::shapes::{Bound, kind};
use super::smt::{NUMBER, between, fits, literal};
use super::statement::Statement;
use crate::rewrite::lang::Ty;
use crate::rewrite::rule::{Bind, When};
use crate::schedule::index::{AxisId, AxisKind, AxisSet};

type Env = super::super::machine::Env;

impl Statement<'_> {
    fn of(&self, name: &str) -> Vec<(Env, String)> {
        self.instances.get(name).cloned().unwrap_or_default()
    }

    /// What a computed variable is.
    pub(super) fn computed(&mut self, bind: &Bind) -> Result<(), Stop> {
        if let Bind::OffsetTable(new, offset, t) = *bind {
            let offset = self.symbol(offset[1..].to_owned(), NUMBER);
            for k in 0..16 {
                let [new, old] = [new, t].map(|n| self.symbol(format!("{}.{k}", &n[1..]), NUMBER));
                self.given.push(format!("(= {new} (bvsub {old} {offset}))"));
            }
        }
        Ok(())
    }

    /// That sums of terms over an axis fit a type, however far they have come.
    fn sums_fit(&mut self, axis: AxisId, terms: Vec<(Env, String)>, ty: Ty) {
        let rest = |env: Env| env.without(AxisSet::one(axis));
        for (env, term) in &terms {
            self.given.push(fits(term, ty));
            if let Some(before) = self.sums.get(term).filter(|_| kind(axis) == AxisKind::Loop) {
                let sum = format!("(bvadd {before} {term})");
                self.given.extend([fits(before, ty), fits(&sum, ty)]);
            }
            let so_far = terms
                .iter()
                .filter(|(e, _)| rest(*e) == rest(*env) && e.get(axis).ok() <= env.get(axis).ok());
            let so_far: Vec<&str> = so_far.map(|(_, t)| t.as_str()).collect();
            if so_far.len() > 1 {
                self.given
                    .push(fits(&format!("(bvadd {})", so_far.join(" ")), ty));
            }
        }
    }

    /// A condition on numbers.
    pub(super) fn assume(&mut self, when: &When) -> Result<(), Stop> {
        let odd = || Stop::Unstated(format!("the condition {when:?}"));
        match *when {
            When::Fits(e, ty) if ty != Ty::F32 => {
                for (_, x) in self.of(e) {
                    self.holds(&x, ty);
                }
            }
            When::Bit(e) => {
                let bits = self.of(e).into_iter().map(|(_, x)| between(&x, 0, 1));
                self.given.extend(bits);
            }
            When::WholeUnit(u) => {
                let unit = self.symbol(format!("{}.unit", &u[1..]), NUMBER);
                self.holds(&unit, Ty::I32);
            }
            When::FitsVar(e, t) => {
                let Bound::Ty(ty) = self.bound(t)? else {
                    return Err(odd());
                };
                for (_, x) in self.of(e).iter().filter(|_| ty != Ty::F32) {
                    self.holds(x, ty);
                }
            }
            When::SumFits(a, e, ty) => {
                let Bound::Axis(axis) = self.bound(a)? else {
                    return Err(odd());
                };
                self.sums_fit(axis, self.of(e), ty);
            }
            When::ProductSumFits(a, x, y, ty) => {
                let Bound::Axis(axis) = self.bound(a)? else {
                    return Err(odd());
                };
                let pairs = self.of(x).into_iter().zip(self.of(y));
                let products = pairs.map(|((env, x), (_, y))| (env, format!("(bvmul {x} {y})")));
                self.sums_fit(axis, products.collect(), ty);
            }
            When::TableFits(t, ty) => {
                for k in 0..16 {
                    let entry = self.symbol(format!("{}.{k}", &t[1..]), NUMBER);
                    self.given.push(fits(&entry, ty));
                }
            }
            When::ElementFits(x, _) | When::SignedInteger(x) | When::UnsignedInteger(x) => {
                let name = &x[1..];
                for code in self.codes.get(x).cloned().unwrap_or_default() {
                    let value = format!("({name}.value {code})");
                    self.given.push(self.element_is(when, name, &code, &value));
                }
            }
            When::Tabular(x) => {
                let given = between(&format!("{}.bits", &x[1..]), 1, 16);
                self.given.push(given);
            }
            // Of a field beyond a byte, or of what rounding loses: nothing about any one number.
            When::WideField(..) | When::Unrounded(..) => {}
            _ => return Err(odd()),
        }
        Ok(())
    }

    /// What a condition says of the value of a code.
    fn element_is(&self, when: &When, name: &str, code: &str, value: &str) -> String {
        match when {
            When::ElementFits(_, ty) => fits(value, *ty),
            When::SignedInteger(_) => {
                let range = format!("(bvshl {} {name}.bits)", literal(1));
                let sign = format!("(bvlshr {range} {})", literal(1));
                let signed = format!("(ite (bvult {code} {sign}) {code} (bvsub {code} {range}))");
                format!("(=> (bvult {code} {range}) (= {value} {signed}))")
            }
            _ => format!("(= {value} {code})"),
        }
    }
}
