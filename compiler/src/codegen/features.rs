//! What a machine has: its architecture and the instruction-set extensions that code generation may use.

use super::CodegenError;
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use std::str::FromStr;
use target_lexicon::Triple;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Arch {
    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86-64",
            Arch::Aarch64 => "aarch64",
        }
    }
}

/// Extensions; those of the other architecture are false.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// The architecture.
    pub arch: Arch,
    /// `pshufb`, `pmaddubsw`.
    pub ssse3: bool,
    /// `pmovsx`, `roundps`, `pblendvb`.
    pub sse41: bool,
    /// SSE4.2 and `popcnt`.
    pub sse42: bool,
    /// Three-operand forms.
    pub avx: bool,
    /// `vpbroadcast`.
    pub avx2: bool,
    /// Fused multiply-add.
    pub fma: bool,
    /// `vpdpbusd` in its EVEX form (AVX512-VNNI with VL).
    pub avx512vnni: bool,
    /// `vpopcntb` (AVX512-BITALG with VL).
    pub avx512bitalg: bool,
    /// `vpdpbusd` in its VEX form (AVX-VNNI).
    pub avxvnni: bool,
    /// `sdot`.
    pub dotprod: bool,
    /// `usdot`.
    pub i8mm: bool,
}

const NONE: Features = Features {
    arch: Arch::X86_64,
    ssse3: false,
    sse41: false,
    sse42: false,
    avx: false,
    avx2: false,
    fma: false,
    avx512vnni: false,
    avx512bitalg: false,
    avxvnni: false,
    dotprod: false,
    i8mm: false,
};

/// The architecture and the names of the extensions.
impl std::fmt::Display for Features {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.arch.name())?;
        let named = [
            (self.ssse3, "ssse3"),
            (self.sse41, "sse4.1"),
            (self.sse42, "sse4.2"),
            (self.avx, "avx"),
            (self.avx2, "avx2"),
            (self.fma, "fma"),
            (self.avx512vnni, "avx512-vnni"),
            (self.avx512bitalg, "avx512-bitalg"),
            (self.avxvnni, "avx-vnni"),
            (self.dotprod, "dotprod"),
            (self.i8mm, "i8mm"),
        ];
        let present = named.iter().filter(|(has, _)| *has);
        present
            .into_iter()
            .try_for_each(|(_, name)| write!(f, " {name}"))
    }
}

impl Features {
    /// Plain x86-64: SSE2.
    pub fn x86_64_sse2() -> Features {
        NONE
    }
    /// SSSE3, SSE4.1, SSE4.2.
    pub fn x86_64_v2() -> Features {
        Features {
            ssse3: true,
            sse41: true,
            sse42: true,
            ..NONE
        }
    }
    /// AVX, AVX2, FMA.
    pub fn x86_64_v3() -> Features {
        Features {
            avx: true,
            avx2: true,
            fma: true,
            ..Features::x86_64_v2()
        }
    }
    /// AVX512-VNNI with VL.
    pub fn x86_64_vnni() -> Features {
        Features {
            avx512vnni: true,
            ..Features::x86_64_v3()
        }
    }
    /// 64-bit Arm with NEON.
    pub fn aarch64() -> Features {
        Features {
            arch: Arch::Aarch64,
            fma: true,
            ..NONE
        }
    }
    /// With the dot-product extension.
    pub fn aarch64_dotprod() -> Features {
        Features {
            dotprod: true,
            ..Features::aarch64()
        }
    }
    /// With the dot-product and i8mm extensions.
    pub fn aarch64_i8mm() -> Features {
        Features {
            i8mm: true,
            ..Features::aarch64_dotprod()
        }
    }

    /// What this machine has.
    #[cfg(target_arch = "x86_64")]
    pub fn host() -> Features {
        use std::is_x86_feature_detected as has;
        let avx = has!("avx");
        Features {
            arch: Arch::X86_64,
            ssse3: has!("ssse3"),
            sse41: has!("sse4.1"),
            sse42: has!("sse4.2") && has!("popcnt"),
            avx,
            avx2: avx && has!("avx2"),
            fma: avx && has!("fma"),
            avx512vnni: has!("avx512vnni") && has!("avx512vl") && has!("avx512f"),
            avx512bitalg: has!("avx512bitalg") && has!("avx512vl") && has!("avx512f"),
            avxvnni: avx && has!("avxvnni"),
            dotprod: false,
            i8mm: false,
        }
    }

    /// What this machine has.
    #[cfg(target_arch = "aarch64")]
    pub fn host() -> Features {
        use std::arch::is_aarch64_feature_detected as has;
        Features {
            dotprod: has!("dotprod"),
            i8mm: has!("i8mm"),
            ..Features::aarch64()
        }
    }

    /// Whether one shuffle makes words of bytes.
    pub fn spreads_bytes(&self) -> bool {
        self.arch == Arch::X86_64 && self.ssse3
    }

    /// Whether code for these features runs here.
    pub fn runs_here(&self) -> bool {
        let host = Features::host();
        let implied = |mine: bool, host: bool| !mine || host;
        self.arch == host.arch
            && implied(self.ssse3, host.ssse3)
            && implied(self.sse41, host.sse41)
            && implied(self.sse42, host.sse42)
            && implied(self.avx, host.avx)
            && implied(self.avx2, host.avx2)
            && implied(self.fma, host.fma)
            && implied(self.avx512vnni, host.avx512vnni)
            && implied(self.avx512bitalg, host.avx512bitalg)
            && implied(self.avxvnni, host.avxvnni)
            && implied(self.dotprod, host.dotprod)
            && implied(self.i8mm, host.i8mm)
    }

    /// Cranelift's description of the machine.
    pub(super) fn isa(&self) -> Result<OwnedTargetIsa, CodegenError> {
        let error = |e: &dyn std::fmt::Display| CodegenError::Isa(e.to_string());
        let mut flags = settings::builder();
        // Emission order is ours; the mid-end would move pure operations to their uses and spill (opt_level=none keeps it).
        let verify = if cfg!(debug_assertions) {
            "true"
        } else {
            "false"
        };
        for (name, value) in [
            ("opt_level", "none"),
            ("is_pic", "false"),
            ("enable_verifier", verify),
        ] {
            flags.set(name, value).map_err(|e| error(&e))?;
        }
        let triple = match self.arch {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        };
        let triple = Triple::from_str(triple).map_err(|e| error(&e))?;
        let mut builder = isa::lookup(triple).map_err(|e| error(&e))?;
        let wanted: &[(&str, bool)] = match self.arch {
            Arch::X86_64 => &[
                ("has_sse3", self.ssse3),
                ("has_ssse3", self.ssse3),
                ("has_sse41", self.sse41),
                ("has_sse42", self.sse42),
                ("has_popcnt", self.sse42),
                ("has_avx", self.avx),
                ("has_avx2", self.avx2),
                ("has_fma", self.fma),
                ("has_avx512f", self.avx512vnni || self.avx512bitalg),
                ("has_avx512vl", self.avx512vnni || self.avx512bitalg),
                ("has_avx512vnni", self.avx512vnni),
                ("has_avx512bitalg", self.avx512bitalg),
                ("has_avx_vnni", self.avxvnni),
            ],
            Arch::Aarch64 => &[("has_dotprod", self.dotprod), ("has_i8mm", self.i8mm)],
        };
        for (name, _) in wanted.iter().filter(|(_, on)| *on) {
            builder.enable(name).map_err(|e| error(&e))?;
        }
        builder
            .finish(settings::Flags::new(flags))
            .map_err(|e| error(&e))
    }
}
