//! The closed list of built-in data sets: described as data, chosen at run time.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    CaseSet, CaseUnit, DataError, EncoderConfig, ImageSource, LoadOptions, class_folders, derm7pt, dermofit, described,
    ham10000, isic_2016, isic_2017, isic_2018, isic_2019, isic_2020, isic_2024, milk10k, pad_ufes_20, ph2,
};

type Load = fn(&Path, &LoadOptions) -> Result<CaseSet, DataError>;

/// Turns the table of data sets into [`DataSetKind`].
macro_rules! built_in {
    ($(#[doc = $description:literal] $kind:ident $name:literal = $load:expr, $encoding:expr;)+) => {
        /// A data set that can be loaded, by how it lies in its folder; as text (and in files) by its name.
        ///
        /// ```
        /// use dermafuse_data::DataSetKind;
        ///
        /// let kind: DataSetKind = "pad-ufes-20".parse()?;
        /// assert_eq!(kind, DataSetKind::PadUfes20);
        /// assert!(kind.load("nowhere".as_ref()).unwrap_err().to_string().starts_with("nowhere"));
        ///
        /// let error = "pad".parse::<DataSetKind>().unwrap_err().to_string();
        /// assert!(error.starts_with("unknown data set `pad`: use one of class-folders, derm7pt, "));
        /// # Ok::<(), dermafuse_data::DataError>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum DataSetKind {$(
            #[doc = $description]
            #[serde(rename = $name)]
            $kind,
        )+}

        impl DataSetKind {
            const COUNT: usize = [$(Self::$kind),+].len();

            /// All built-in data sets.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$kind),+];

            /// The name, e.g. `pad-ufes-20`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {$(Self::$kind => $name,)+}
            }

            /// What it is, in a line.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {$(Self::$kind => $description.trim(),)+}
            }

            fn loader(self) -> (Load, fn() -> EncoderConfig) {
                match self {$(Self::$kind => ($load, $encoding),)+}
            }
        }
    };
}

// A new data set is a row: description, name, loader, default encoding of its metadata.
built_in! {
    /// A folder for each class
    ClassFolders "class-folders" = |folder, options| fixed("class-folders", options, || class_folders::load(folder)),
        EncoderConfig::default;
    /// Derm7pt `release_v0`, or a synthetic set in its layout
    Derm7pt "derm7pt" = |folder, options| fixed("derm7pt", options, || derm7pt::load(folder)), derm7pt::encoding;
    /// Dermofit: clinical photos, ten diagnoses
    Dermofit "dermofit" = |folder, options| fixed("dermofit", options, || dermofit::load(folder)), EncoderConfig::default;
    /// The clinical photos of Derm7pt with the 20 diagnoses as they are written
    Edra "edra" = |folder, options| fixed("edra", options, || derm7pt::load_edra(folder)), derm7pt::encoding;
    /// HAM10000, the training set of ISIC 2018: dermoscopic images, seven diagnoses
    Ham10000 "ham10000" = |folder, options| ham10000::load_with(folder, options), ham10000::encoding;
    /// ISIC 2016: dermoscopic images, benign or malignant, in the official parts
    Isic2016 "isic-2016" = |folder, options| isic_2016::load_with(folder, options), isic_2016::encoding;
    /// ISIC 2017: dermoscopic images, three diagnoses, in the official parts
    Isic2017 "isic-2017" = |folder, options| isic_2017::load_with(folder, options), isic_2017::encoding;
    /// ISIC 2018 task 3: dermoscopic images, seven diagnoses, in the official parts
    Isic2018 "isic-2018" = |folder, options| isic_2018::load_with(folder, options), isic_2018::encoding;
    /// ISIC 2019: dermoscopic images, eight diagnoses
    Isic2019 "isic-2019" = |folder, options| isic_2019::load_with(folder, options), isic_2019::encoding;
    /// ISIC 2020: dermoscopic images, melanoma or not
    Isic2020 "isic-2020" = |folder, options| isic_2020::load_with(folder, options), isic_2020::encoding;
    /// ISIC 2024 (SLICE-3D): crops of total body photographs, malignant or not
    Isic2024 "isic-2024" = |folder, options| isic_2024::load_with(folder, options), isic_2024::encoding;
    /// MILK10k: pairs of images, eleven diagnoses
    Milk10k "milk10k" = |folder, options| milk10k::load_with(folder, &options.into()), milk10k::encoding;
    /// PAD-UFES-20: smartphone photos, six diagnoses, a long record
    PadUfes20 "pad-ufes-20" = |folder, options| pad_ufes_20::load_with(folder, options), pad_ufes_20::encoding;
    /// PH²: dermoscopic images, three diagnoses
    Ph2 "ph2" = |folder, options| ph2::load_with(folder, options), EncoderConfig::default;
    /// PH² with its dermoscopic criteria and colours as tasks
    Ph2Criteria "ph2-criteria" = |folder, options| ph2::load_criteria_with(folder, options), EncoderConfig::default;
    /// Your own, described by a TOML file
    Described "described" = |file, options| described::load_with(file, options), EncoderConfig::default;
}

impl DataSetKind {
    /// Loads the data set of a folder, or of the file that describes it.
    ///
    /// # Errors
    /// As its loader.
    pub fn load(self, folder: &Path) -> Result<CaseSet, DataError> {
        self.load_with(folder, &LoadOptions::default())
    }

    /// Loads the data set of a folder, or of the file that describes it. [`LoadOptions::images`] can name the folder of the
    /// images where the set does not say it itself, as class folders and Derm7pt do; without images, those are loaded whole.
    ///
    /// # Errors
    /// As its loader; a folder of images for a set that says where they are; lesions of a set that knows none; tasks or fields
    /// that it does not have.
    pub fn load_with(self, folder: &Path, options: &LoadOptions) -> Result<CaseSet, DataError> {
        let set = (self.loader().0)(folder, options)?;
        let set = match options.cases {
            CaseUnit::Images => set,
            CaseUnit::Lesions => set.by_lesion()?,
        };
        let set = match &options.tasks[..] {
            [] => set,
            tasks => set.with_tasks(tasks, options.other_tasks)?,
        };
        set.with_roles(&options.roles)
    }

    /// How its metadata becomes numbers unless another way is asked for.
    #[must_use]
    pub fn encoding(self) -> EncoderConfig {
        (self.loader().1)()
    }
}

/// Loads a set whose images lie where it says.
fn fixed(
    name: &'static str,
    options: &LoadOptions,
    load: impl FnOnce() -> Result<CaseSet, DataError>,
) -> Result<CaseSet, DataError> {
    match &options.images {
        ImageSource::Folder(folder) => Err(DataError::Setting {
            what: "folder of images",
            found: format!("{} for {name}", folder.display()),
            expected: "needed: this set says where its images are; leave the setting out",
        }),
        ImageSource::BelowRoot | ImageSource::Nowhere => load(),
    }
}

impl fmt::Display for DataSetKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for DataSetKind {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| DataError::UnknownKind { name: name.to_owned(), known: Self::ALL.map(Self::name).to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_in_text_and_in_files() {
        for kind in DataSetKind::ALL {
            assert_eq!(kind.name().parse::<DataSetKind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert!(!kind.description().is_empty() && !kind.description().starts_with(' '));
        }
    }

    #[test]
    fn a_folder_of_images_is_for_sets_that_do_not_say_it() {
        let options = LoadOptions { images: ImageSource::Folder("elsewhere".into()), ..LoadOptions::default() };
        let text = DataSetKind::Edra.load_with("nowhere".as_ref(), &options).unwrap_err().to_string();
        assert!(text.starts_with("folder of images: elsewhere for edra is not needed: this set says where"), "{text}");
        assert_eq!(milk10k::Options::from(&options).images.as_deref(), Some("elsewhere".as_ref()));
        let text = DataSetKind::Milk10k.load_with("nowhere".as_ref(), &options).unwrap_err().to_string();
        assert!(text.starts_with("nowhere: not found"), "{text}");
    }
}
