//! What people read when a text is wrong.

use super::errors;

/// The errors of one kernel over a few formats.
fn kernel(text: &str) -> String {
    errors(&format!("language 1;\nimport \"std/ints\";\n{text}"))
}

/// The errors of one block.
fn block(text: &str) -> String {
    errors(&format!("language 1;\n{text}"))
}

#[test]
fn syntax() {
    insta::assert_snapshot!(errors("language 1;\nconst A = 3\nformat f = int(4;\nkernle k() -> output y: f32 { y = 1; }\nformat g = int(4);\nkernel k(input x f32) -> output y: f32 { y = x + ; }"), @r#"
    error[syntax]: the end of the item is not expected here
     --> test.lowbit:2:11
      |
    2 | const A = 3
      |           ^ expected an operator or `;`
      |
    help: a statement ends with a semicolon
      |
    2 | const A = 3;
      |            +

    error[bracket]: `(` is never closed
     --> test.lowbit:3:15
      |
    3 | format f = int(4;
      |               ^ opened here

    error[syntax]: `f32` is not expected here
     --> test.lowbit:6:18
      |
    6 | kernel k(input x f32) -> output y: f32 { y = x + ; }
      |                  ^^^ expected `:`
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[K]) -> output y: f32 {\n    y = sum(k) x[k]\n}\nconst B = 1 + * 2;"), @r#"
    error[syntax]: `}` is not expected here
     --> test.lowbit:5:1
      |
    5 | }
      | ^ expected an operator, `;` or `,`
      |
    help: a statement ends with a semicolon
      |
    4 |     y = sum(k) x[k];
      |                    +

    error[syntax]: `*` is not expected here
     --> test.lowbit:6:15
      |
    6 | const B = 1 + * 2;
      |               ^ expected an expression
    "#);
}

#[test]
fn header_and_imports() {
    insta::assert_snapshot!(errors("format f = int(4);"), @r#"
    error[language]: the file does not say which language it is written in
     --> test.lowbit:1:1
      |
    1 | format f = int(4);
      | ^ expected `language 1;` here
      |
    help: write this instead
      |
    1 + language 1;
      |
    "#);
    insta::assert_snapshot!(errors("language 2;"), @r#"
    error[language]: this version of the language is not known
     --> test.lowbit:1:10
      |
    1 | language 2;
      |          ^ this compiler reads version 1
      |
    help: write this instead
      |
    1 - language 2;
    1 + language 1;
      |
    "#);
    insta::assert_snapshot!(errors("language 1;\nimport \"std/nf5\";"), @r#"
    error[import]: there is no module `std/nf5`
     --> test.lowbit:2:8
      |
    2 | import "std/nf5";
      |        ^^^^^^^^^ not found
      |
    help: a similar name exists
      |
    2 - import "std/nf5";
    2 + import "std/nf4";
      |
    "#);
    let cyclic = |name: &str| {
        Some(format!(
            "language 1;\nimport \"{}\";",
            if name == "a" { "b" } else { "a" }
        ))
    };
    let e = crate::spec::load("a", "language 1;\nimport \"b\";", &cyclic).unwrap_err();
    insta::assert_snapshot!(e, @r#"
    error[import]: `a` imports itself
     --> b:2:8
      |
    2 | import "a";
      |        ^^^ `a` imports `b` imports `a`

    error[import]: `b` has errors
     --> a:2:8
      |
    2 | import "b";
      |        ^^^ imported here
    "#);
}

#[test]
fn names() {
    insta::assert_snapshot!(kernel("kernel k(weight w: int4_23[N, K], input x: f32[M, K]) -> output y: f32[M, N] {\n    y[m, n] = sum(k) w[n, k] * x[m, k];\n}"), @r#"
    error[unknown-name]: there is no format `int4_23`
     --> test.lowbit:3:20
      |
    3 | kernel k(weight w: int4_23[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
      |                    ^^^^^^^ not defined
      |
    help: a similar name exists
      |
    3 - kernel k(weight w: int4_23[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
    3 + kernel k(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
      |
    "#);
    insta::assert_snapshot!(kernel("kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * squirt(gain[k]); }"), @r#"
    error[unknown-name]: there is no tensor `gian`
     --> test.lowbit:3:59
      |
    3 | kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * squirt(gain[k]); }
      |                                                           ^^^^ not defined
      |
    help: a similar name exists
      |
    3 - kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * squirt(gain[k]); }
    3 + kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gain[k] * squirt(gain[k]); }
      |

    error[unknown-name]: there is no function `squirt` here
     --> test.lowbit:3:69
      |
    3 | kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * squirt(gain[k]); }
      |                                                                     ^^^^^^ known are exp, sqrt, tanh, silu, gelu, abs, round, round_away, trunc, floor, floor_pow2, min, max, clamp, select, relu
      |
    help: a similar name exists
      |
    3 - kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * squirt(gain[k]); }
    3 + kernel k(input gain: f32[K]) -> output y: f32[K] { y[k] = gian[k] * sqrt(gain[k]); }
      |
    "#);
    insta::assert_snapshot!(block("format a = b;\nformat b = int(4);\nformat b = int(5);\nconst f16 = 3;\nformat c = nf4_64;"), @r#"
    error[unknown-name]: there is no format `b`
     --> test.lowbit:2:12
      |
    2 | format a = b;
      |            ^ not defined
    3 | format b = int(4);
      |        - defined only here
      |
      = help: move the definition up: names are defined before they are used

    error[duplicate]: `b` is defined twice
     --> test.lowbit:4:8
      |
    3 | format b = int(4);
      |        - first defined here
    4 | format b = int(5);
      |        ^ defined again

    error[duplicate]: `f16` is built in
     --> test.lowbit:5:7
      |
    5 | const f16 = 3;
      |       ^^^ choose another name

    error[unknown-name]: there is no format `nf4_64`
     --> test.lowbit:6:12
      |
    6 | format c = nf4_64;
      |            ^^^^^^ not defined
      |
      = help: `import "std/nf4";` brings it in
    "#);
}

#[test]
fn fields_of_rows_and_tensors() {
    let with = |fields: &str, encode: &str| {
        block(&format!(
            "format f = block r < 2, i < 32 {{\n    q[r, i]: int(4);\n    d[r]: f16;\n    {fields}\n    value = d[r] * q[r, i];\n{encode}}}"
        ))
    };
    insta::assert_snapshot!(with("row s: f32;", ""), @r#"
    error[subscript]: a row has `s` once
     --> test.lowbit:5:9
      |
    5 |     row s: f32;
      |         ^ expected `s[r]`
    "#);
    insta::assert_snapshot!(with("tensor s[r]: f32;", ""), @r#"
    error[subscript]: the tensor has `s` once
     --> test.lowbit:5:14
      |
    5 |     tensor s[r]: f32;
      |              ^ expected no subscript
    "#);
    insta::assert_snapshot!(with("s[r]: f32 after;", ""), @r#"
    error[placement]: only what a row or the tensor has once lies after blocks
     --> test.lowbit:5:15
      |
    5 |     s[r]: f32 after;
      |               ^^^^^ `s` belongs to the block
      |
      = help: write `row s` or `tensor s`
    "#);
    insta::assert_snapshot!(with("row s[r]: codebook [1, 2, _] else refuse;", ""), @r#"
    error[not-supported]: fields of rows and tensors cannot refuse codes yet
     --> test.lowbit:5:9
      |
    5 |     row s[r]: codebook [1, 2, _] else refuse;
      |         ^ must have one value for each code
    "#);
    insta::assert_snapshot!(with("row s[r]: f32;", "    encode x { d[r] = max(i) abs(x[r, i]); s[r] = max(i) abs(x[r, i] / d[r]); q[r, i] = 1; }\n"), @r#"
    error[varies]: `s` belongs to several elements, for which `d` differs
     --> test.lowbit:7:72
      |
    7 |     encode x { d[r] = max(i) abs(x[r, i]); s[r] = max(i) abs(x[r, i] / d[r]); q[r, i] = 1; }
      |                                                                        ^^^^ differs from element to element
    "#);
    insta::assert_snapshot!(block("format f = block r < 2, i < 32, bytes 34, row bytes 4, tensor after bytes 4, tensor after bytes 4 {\n    q[r, i]: int(4) at 128 * r + 4 * i;\n    row s[r]: f32 at 32 * r;\n    tensor t: f16 after at 8 * r;\n    value = s[r] * q[r, i];\n}"), @r#"
    error[placement]: `t` is stored once, but has several addresses
     --> test.lowbit:5:5
      |
    5 |     tensor t: f16 after at 8 * r;
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ must have one
    "#);
}

#[test]
fn quotients_of_indices() {
    insta::assert_snapshot!(kernel("kernel k(input q: f32[N, K], input s: f32[N, K / 32]) -> output y: f32[N, K] { y[n, k] = q[n, k] * s[n, k / 16]; }"), @r#"
    error[extent]: `k / 16` runs to `K / 16`, not to `K / 32`
     --> test.lowbit:3:105
      |
    3 | kernel k(input q: f32[N, K], input s: f32[N, K / 32]) -> output y: f32[N, K] { y[n, k] = q[n, k] * s[n, k / 16]; }
      |                                                                                                         ^^^^^^ axis 1 of `s` has extent `K / 32`
      |
      = help: declare that axis as `K / 16`
    "#);
    insta::assert_snapshot!(kernel("kernel k(input q: f32[N, 64], input s: f32[N, G]) -> output y: f32[N, 64] { y[n, k] = q[n, k] * s[n, k / 16] + s[n, k / 0] + s[n, j / 2]; }"), @r#"
    error[extent]: `k / 16` runs to 4, not to `G`
     --> test.lowbit:3:102
      |
    3 | ...utput y: f32[N, 64] { y[n, k] = q[n, k] * s[n, k / 16] + s[n, k / 0] + s[n, j / 2]; }
      |                                                   ^^^^^^ axis 1 of `s` has extent `G`
      |
      = help: declare that axis as 4

    error[limit]: a divisor must lie between 1 and 4294967296
     --> test.lowbit:3:121
      |
    3 | ...: f32[N, 64] { y[n, k] = q[n, k] * s[n, k / 16] + s[n, k / 0] + s[n, j / 2]; }
      |                                                               ^ comes to 0

    error[binder]: index `j` has no binder
     --> test.lowbit:3:131
      |
    3 | ... { y[n, k] = q[n, k] * s[n, k / 16] + s[n, k / 0] + s[n, j / 2]; }
      |                                                             ^ not bound here
      |
      = help: put it on the left side, or reduce over it: `sum(j) …`, with parentheses round what is added
    "#);
    insta::assert_snapshot!(kernel("kernel k(input s: f32[N, G]) -> output y: f32[N] { y[n] = sum(k) s[n, k / 16]; }"), @r#"
    error[binder]: nothing says how far index `k` goes
     --> test.lowbit:3:63
      |
    3 | kernel k(input s: f32[N, G]) -> output y: f32[N] { y[n] = sum(k) s[n, k / 16]; }
      |                                                               ^ not used as a subscript
      |
      = help: an index takes its extent from the axes that it is a subscript of; over 32, from an axis of `K / 32`
    "#);
}

#[test]
fn extents_and_indices() {
    insta::assert_snapshot!(kernel("kernel k(weight w: int4_32[N, K], input x: f32[M, J]) -> output y: f32[M, N] {\n    y[m, n] = sum(k) w[n, k] * x[m, k];\n}"), @r#"
    error[extent]: index `k` runs to both `K` and `J`
     --> test.lowbit:4:37
      |
    4 |     y[m, n] = sum(k) w[n, k] * x[m, k];
      |                           -         ^ axis 1 of `x` has extent `J`
      |                           |
      |                           axis 1 of `w` has extent `K`
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = x[m, k]; }"), @r#"
    error[binder]: index `k` has no binder
     --> test.lowbit:3:64
      |
    3 | kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = x[m, k]; }
      |                                                                ^ not bound here
      |
      = help: put it on the left side, or reduce over it: `sum(k) …`, with parentheses round what is added
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = sum(m, j) x[m, 0]; }"), @r#"
    error[binder]: index `m` is bound twice
     --> test.lowbit:3:63
      |
    3 | kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = sum(m, j) x[m, 0]; }
      |                                                      -        ^ bound again
      |                                                      |
      |                                                      bound here
      |
      = help: choose another name
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = sum(j) x[m, 0]; }"), @r#"
    error[binder]: nothing says how far index `j` goes
     --> test.lowbit:3:63
      |
    3 | kernel k(input x: f32[M, K]) -> output y: f32[M] { y[m] = sum(j) x[m, 0]; }
      |                                                               ^ not used as a subscript
      |
      = help: an index takes its extent from the axes that it is a subscript of; over 32, from an axis of `K / 32`
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, 4]) -> output y: f32[M] { y[m] = x[m] + x[m, 4] + x[m, 2 * m]; }"), @r#"
    error[rank]: `x` has 2 axes
     --> test.lowbit:3:59
      |
    3 | kernel k(input x: f32[M, 4]) -> output y: f32[M] { y[m] = x[m] + x[m, 4] + x[m, 2 * m]; }
      |                - declared here                            ^^^^ has 1 subscripts

    error[subscript]: position 4 is outside of an axis of 4
     --> test.lowbit:3:71
      |
    3 | kernel k(input x: f32[M, 4]) -> output y: f32[M] { y[m] = x[m] + x[m, 4] + x[m, 2 * m]; }
      |                - declared here                                        ^ must be below 4

    error[subscript]: a subscript is an index, an index over a constant, a constant or a look-up in an integer tensor
     --> test.lowbit:3:81
      |
    3 | kernel k(input x: f32[M, 4]) -> output y: f32[M] { y[m] = x[m] + x[m, 4] + x[m, 2 * m]; }
      |                                                                                 ^^^^^ not supported here
      |
      = help: split the axis into two axes, or prepare the tensor before the kernel
    "#);
}

#[test]
fn types_and_order() {
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = x[m, k]; }"), @r#"
    error[type]: real numbers are assigned to `y`, which has the format `q8_32`
     --> test.lowbit:3:67
      |
    3 | kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = x[m, k]; }
      |                                        - declared here            ^^^^^^^ must be quantised
      |
    help: say so
      |
    3 - kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = x[m, k]; }
    3 + kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as q8_32; }
      |
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as int4_32; }"), @r#"
    error[type]: `y` has the format `q8_32`, not `int4_32`
     --> test.lowbit:3:87
      |
    3 | kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as int4_32; }
      |                                        - declared here                                ^^^^^^^ another format
      |
    help: write this instead
      |
    3 - kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as int4_32; }
    3 + kernel k(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as q8_32; }
      |
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[K]) -> output y: i8[K] { y[k] = x[k] * 2; }"), @r#"
    error[type]: `y` holds integers, and this value need not be one
     --> test.lowbit:3:55
      |
    3 | kernel k(input x: f32[K]) -> output y: i8[K] { y[k] = x[k] * 2; }
      |                                     - declared here   ^^^^^^^^ a real number
      |
    help: round it
      |
    3 - kernel k(input x: f32[K]) -> output y: i8[K] { y[k] = x[k] * 2; }
    3 + kernel k(input x: f32[K]) -> output y: i8[K] { y[k] = round(x[k] * 2); }
      |
    "#);
    insta::assert_snapshot!(kernel("kernel k(input t: f32[V], input id: f32[T]) -> output y: f32[T] { y[i] = t[id[i]]; }"), @r#"
    error[type]: positions are looked up in a tensor of integers of 8, 16 or 32 bits, and `id` has the format `f32`
     --> test.lowbit:3:76
      |
    3 | kernel k(input t: f32[V], input id: f32[T]) -> output y: f32[T] { y[i] = t[id[i]]; }
      |                                 -- declared here                           ^^^^^ must be integers
      |
      = help: declare it as `i32`
    "#);
    insta::assert_snapshot!(kernel("kernel k(input x: f32[K]) -> (output y: f32[K], output z: f32[K]) {\n    y[k] = z[k];\n    y[k] = x[k];\n    y[k] = x[k];\n    h[k] = x[k];\n}"), @r#"
    error[not-written]: output `z` is never written
     --> test.lowbit:3:56
      |
    3 | kernel k(input x: f32[K]) -> (output y: f32[K], output z: f32[K]) {
      |                                                        ^ no statement assigns it

    error[order]: `z` is read before it is written
     --> test.lowbit:4:12
      |
    3 | kernel k(input x: f32[K]) -> (output y: f32[K], output z: f32[K]) {
      |                                                        - declared here
    4 |     y[k] = z[k];
      |            ^ has no value yet

    error[written-twice]: `y` is written twice
     --> test.lowbit:5:5
      |
    4 |     y[k] = z[k];
      |     ---- first written here
    5 |     y[k] = x[k];
      |     ^^^^ written again

    error[written-twice]: `y` is written twice
     --> test.lowbit:6:5
      |
    4 |     y[k] = z[k];
      |     ---- first written here
    5 |     y[k] = x[k];
    6 |     y[k] = x[k];
      |     ^^^^ written again

    error[unknown-name]: there is no output `h`
     --> test.lowbit:7:5
      |
    7 |     h[k] = x[k];
      |     ^ not defined
      |
    help: `let` defines an intermediate
      |
    7 |     let h[k] = x[k];
      |     +++
    "#);
}

#[test]
fn blocks() {
    insta::assert_snapshot!(block("format f = block i < 32, bytes 16 {\n    d: f16 at 0;\n    q[i]: uint(4) at 16 + 4 * i;\n    value = d * q[i];\n}"), @r#"
    error[placement]: `q` lies outside of the block
     --> test.lowbit:4:22
      |
    2 | format f = block i < 32, bytes 16 {
      |                                -- the block ends at bit 128
    3 |     d: f16 at 0;
    4 |     q[i]: uint(4) at 16 + 4 * i;
      |                      ^^^^^^^^^^ puts bits 128 to 131
    "#);
    insta::assert_snapshot!(block("format f = block i < 32, bytes 18 {\n    d: f16 at 8;\n    q[i]: uint(4) at 16 + 4 * i;\n    value = d * q[i];\n}"), @r#"
    error[overlap]: occurrence 0 of `q` overlaps `d`
     --> test.lowbit:4:5
      |
    3 |     d: f16 at 8;
      |     ------------ these bits are taken by this field
    4 |     q[i]: uint(4) at 16 + 4 * i;
      |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ bits 16 to 19
    "#);
    insta::assert_snapshot!(block("format f = block i < 32, bytes 19 {\n    d: f16;\n    q[i]: uint(4);\n    value = d * q[i];\n}"), @r#"
    error[size]: the fields take 18 bytes, not 19
     --> test.lowbit:2:32
      |
    2 | format f = block i < 32, bytes 19 {
      |                                ^^ the fields take 18
      |
    help: 1 x 16 bits of `d`, 32 x 4 bits of `q`
      |
    2 - format f = block i < 32, bytes 19 {
    2 + format f = block i < 32, bytes 18 {
      |
    "#);
    insta::assert_snapshot!(block("format f = block i < 32 {\n    d: f16;\n    s[i / 16]: uint(4);\n    value = d * s[i / 8] + q[i];\n}"), @r#"
    error[subscript]: `s` is used with another subscript than it was declared with
     --> test.lowbit:5:17
      |
    5 |     value = d * s[i / 8] + q[i];
      |                 ^^^^^^^^ differs from the declaration
      |
    help: repeat the subscript of the declaration
      |
    5 -     value = d * s[i / 8] + q[i];
    5 +     value = d * s[i / 16] + q[i];
      |

    error[unknown-name]: the block has no field `q`
     --> test.lowbit:5:28
      |
    5 |     value = d * s[i / 8] + q[i];
      |                            ^ not a field
    "#);
    insta::assert_snapshot!(block("format f = block i < 4 {\n    d: f16;\n    q[i]: uint(4);\n    value = d * q[i];\n    encode x { d = x[i]; q[j] = 1 / d; }\n}"), @r#"
    error[varies]: `d` belongs to several elements, and this is the value of one
     --> test.lowbit:6:20
      |
    6 |     encode x { d = x[i]; q[j] = 1 / d; }
      |                    ^^^^ differs from element to element
      |
      = help: reduce over the elements, for example `max(i) abs(x[i])`

    error[unknown-name]: `j` is not an index or a constant
     --> test.lowbit:6:28
      |
    6 |     encode x { d = x[i]; q[j] = 1 / d; }
      |                            ^ not known here
    "#);
}

#[test]
fn limits() {
    insta::assert_snapshot!(block("format f = int(33);\nformat g = float(9, 2);\nformat h = float(8, 2, bias 300);\nformat i = codebook [1e60];"), @r#"
    error[limit]: the number of bits must lie between 1 and 32
     --> test.lowbit:2:16
      |
    2 | format f = int(33);
      |                ^^ comes to 33

    error[limit]: the number of exponent bits must lie between 1 and 8
     --> test.lowbit:3:18
      |
    3 | format g = float(9, 2);
      |                  ^ comes to 9

    error[range]: this float has values that f32 cannot hold
     --> test.lowbit:4:12
      |
    4 | format h = float(8, 2, bias 300);
      |            ^^^^^^^^^^^^^^^^^^^^^ from 2^-301 up to 2.4868995751603507e-14
      |
      = help: choose another `bias`: values must lie between 2^-149 and 2^128

    error[range]: this constant is larger than any f32
     --> test.lowbit:5:22
      |
    5 | format i = codebook [1e60];
      |                      ^^^^ too large
    "#);
    let deep = format!(
        "language 1;\nconst A = {}1{};",
        "(".repeat(70),
        ")".repeat(70)
    );
    assert!(errors(&deep).contains("nested more than 64 deep"));
    let long = format!("language 1;\nconst A = 1{};", " + 1".repeat(5000));
    assert!(errors(&long).contains("the limits are 256 and 4096"));
    let minus = format!("language 1;\nconst A = {}1;", "-".repeat(100_000));
    assert!(errors(&minus).contains("the limits are 256 and 4096"));
    let sums = format!("language 1;\nconst A = {}1;", "sum(k) ".repeat(1000));
    assert!(errors(&sums).contains("more than 64 reductions"));
    assert!(errors(&"x".repeat(1 << 21)).contains("the limit is 1048576"));
    let items = format!("language 1;\n{}", "const A = 1;".repeat(5000));
    assert!(errors(&items).contains("the limit is 4096"));
    let fields: String = (0..16).map(|n| format!("a{n}[i]: uint(1); ")).collect();
    let copies: String = (0..4000).map(|n| format!("format g{n} = g;")).collect();
    let copied =
        format!("language 1;\nformat g = block i < 65536 {{ {fields} value = a0[i]; }}{copies}");
    assert!(errors(&copied).contains("too large together"));
    let large: String = (0..2000)
        .map(|n| format!("format g{n} = block i < 65536 {{ {fields} value = a0[i]; }}"))
        .collect();
    assert!(errors(&format!("language 1;\n{large}")).contains("too large together"));
    for text in [
        "\"",
        "é",
        "language 1; format é = 3;",
        "}",
        "kernel",
        "format f = block i < 0 { }",
        "language 1; //\u{1b}[31m",
        "language 1;\0",
    ] {
        errors(text);
    }
}

#[test]
fn cut_and_garbled_texts_do_not_panic() {
    let text = crate::format::std::source("std/ggml").unwrap();
    for n in (0..text.len()).step_by(7) {
        errors(&text[..n]);
        let mut garbled = text.as_bytes().to_vec();
        garbled.swap(n, (n * 7919 + 13) % text.len());
        errors(&String::from_utf8_lossy(&garbled));
    }
}

#[test]
fn positions_come_from_the_caller_in_whole_bytes() {
    let computed = kernel(
        "kernel k(input a: f32[V, D], input t: f32[T]) -> (output s: i32[T], output y: f32[T, D]) { s[i] = round(t[i]); y[j, d] = a[s[j], d]; }",
    );
    assert!(computed.contains("`s` is computed here"), "{computed}");
    let narrow = kernel(
        "format i4 = int(4);\nkernel k(input a: f32[V, D], input t: i4[T]) -> output y: f32[T, D] { y[j, d] = a[t[j], d]; }",
    );
    assert!(narrow.contains("8, 16 or 32 bits"), "{narrow}");
}

#[test]
fn names_of_other_languages_are_known() {
    let found = kernel("kernel k(input x: float32[N]) -> output y: fp16[N] { y[n] = x[n]; }");
    assert!(
        found.contains("input x: f32[N]") && found.contains("output y: f16[N]"),
        "{found}"
    );
}
