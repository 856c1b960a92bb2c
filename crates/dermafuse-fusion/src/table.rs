//! What follows from a table of modules.

/// Turns a table of modules into their kinds as data, a module of any kind, and what leads from a name to one of them.
///
/// A row is a description, the variant's name, the names in text and files, the module and what it is made by. Modules that have
/// no settings are values themselves.
macro_rules! built_in {
    (
        $(#[$kinds_doc:meta])+
        $kinds:ident, unknown $unknown:ident;
        $(#[$any_doc:meta])+
        $any:ident: $contract:ident;
        $(#[$outside_doc:meta])+
        outside $description:ident => $module_of:ident;
        $(#[$init_doc:meta])+
        init;
        $(
            $(#[$doc:meta])+
            $kind:ident $name:literal $(| $short:literal)* = $module:ident $(($settings:ident))?;
        )+
    ) => {
        $(#[$kinds_doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(remote = "Self", tag = "kind")]
        #[non_exhaustive]
        pub enum $kinds {$(
            $(#[$doc])+
            #[serde(rename = $name)]
            $kind $(($settings))?,
        )+
            $(#[$outside_doc])+
            #[serde(rename = "outside!")]
            Outside(OutsideKind<dyn $description>),
        }

        $(#[$any_doc])+
        #[derive(Module, Debug)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "a network has a handful")]
        pub enum $any {$(
            $(#[$doc])+
            $kind($module),
        )+
            $(#[$outside_doc])+
            Outside(OutsideModule<dyn $module_of>),
        }

        impl $kinds {
            const COUNT: usize = [$($name),+].len();

            /// Every built-in name; by it alone a module has its default settings.
            pub const ALL: [&'static str; Self::COUNT] = [$($name),+];

            /// Other names of those that are built in.
            pub(crate) const SHORT: &'static [&'static str] = &[$($($short,)*)+];

            /// The name in files, as [`FromStr`] reads it; that also reads short names.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $name,)+
                    Self::Outside(outside) => outside.inner().kind(),
                }
            }

            $(#[$init_doc])+
            pub fn init(&self, first: usize, second: usize, device: &Device) -> Result<$any, FusionError> {
                Ok(match self {
                    $(Self::$kind $((settings!(settings: $settings)))? =>
                        $any::$kind(made!($module $(, settings: $settings)?; first, second, device)),)+
                    Self::Outside(outside) => $any::Outside(outside.inner().make_boxed(first, second, device)?),
                })
            }
        }

        impl $any {
            fn module(&self) -> &dyn $contract {
                match self {
                    $(Self::$kind(module) => module,)+
                    Self::Outside(module) => module,
                }
            }
        }

        impl Serialize for $kinds {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Outside(outside) => outside.serialize(serializer),
                    // What is derived.
                    _ => Self::serialize(self, serializer),
                }
            }
        }

        /// From a name, which stands for its default settings, or a table with `kind`.
        impl<'de> Deserialize<'de> for $kinds {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(NameOrTable(PhantomData))
            }
        }

        impl FromTable for $kinds {
            type Outside = dyn $description;

            fn from_table<'de, A: MapAccess<'de>>(
                table: MapAccessDeserializer<KindTable<dyn $description, A>>,
            ) -> Result<Self, A::Error> {
                // What is derived.
                Self::deserialize(table)
            }
        }

        impl fmt::Display for $kinds {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl FromStr for $kinds {
            type Err = $unknown;

            fn from_str(name: &str) -> Result<Self, $unknown> {
                let replaced = name.replace('-', "_");
                match replaced.as_str() {
                    $($name $(| $short)* => Ok(Self::$kind $(($settings::default()))?),)+
                    _ => match OutsideKind::by_name(&replaced) {
                        Ok(outside) => Ok(Self::Outside(outside)),
                        Err(reason) => Err($unknown { name: name.to_owned(), reason }),
                    },
                }
            }
        }
    };
}

/// The name that a pattern gives settings of a type.
macro_rules! settings {
    ($settings:ident: $type:ident) => {
        $settings
    };
}

/// A module that its settings make, or that has none.
macro_rules! made {
    ($module:ident; $($argument:ident),+) => {
        $module
    };
    ($module:ident, $settings:ident: $type:ident; $($argument:ident),+) => {
        $settings.init($($argument),+)?
    };
}

pub(crate) use {built_in, made, settings};
