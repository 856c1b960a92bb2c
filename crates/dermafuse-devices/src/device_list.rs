//! Several devices that share what is computed.

use std::fmt;

use burn::tensor::Device;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::device_error::DeviceError;
use crate::device_name::DeviceName;

/// One device, or several that share each step of a training; the first does everything else. In files it is a name or a list of names.
///
/// A name may be there several times: `["flex", "flex"]` is two parts at once on the CPU.
///
/// ```
/// use dermafuse_devices::{DeviceList, DeviceName};
///
/// let devices: DeviceList = serde_json::from_str(r#"["cuda", "cuda:1"]"#)?;
/// assert_eq!(devices.names(), [DeviceName::Cuda(0), DeviceName::Cuda(1)]);
/// assert_eq!(DeviceList::from(DeviceName::Flex), serde_json::from_str(r#""flex""#)?);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList(Vec<DeviceName>);

impl DeviceList {
    /// The names, at least one.
    pub fn names(&self) -> &[DeviceName] {
        &self.0
    }

    /// The device that does what is not shared.
    pub fn first(&self) -> DeviceName {
        self.0[0]
    }

    /// The devices, ready to compute, in the order of the names.
    ///
    /// # Errors
    /// As [`DeviceName::open`], of the first that does not open.
    pub fn open(&self) -> Result<Vec<Device>, DeviceError> {
        self.0.iter().map(|name| name.open()).collect()
    }
}

impl Default for DeviceList {
    fn default() -> Self {
        DeviceName::default().into()
    }
}

impl From<DeviceName> for DeviceList {
    fn from(name: DeviceName) -> Self {
        Self(vec![name])
    }
}

impl Serialize for DeviceList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [name] => name.serialize(serializer),
            names => names.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DeviceList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNames;

        impl<'de> Visitor<'de> for NameOrNames {
            type Value = DeviceList;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a device, or a list of names")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<DeviceList, E> {
                name.parse::<DeviceName>().map(DeviceList::from).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<DeviceList, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                match names.is_empty() {
                    true => Err(A::Error::custom("a list of devices has at least one")),
                    false => Ok(DeviceList(names)),
                }
            }
        }

        deserializer.deserialize_any(NameOrNames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_as_it_is_read() {
        for text in [r#""cuda:1""#, r#"["flex","flex"]"#, r#"["cuda","cuda:1","flex"]"#] {
            let list: DeviceList = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&list).unwrap(), text);
        }
        let one: DeviceList = serde_json::from_str(r#"["cuda:1"]"#).unwrap();
        assert_eq!(one, DeviceName::Cuda(1).into());
        assert_eq!((one.first(), one.names().len()), (DeviceName::Cuda(1), 1));
    }

    #[test]
    fn what_is_no_list_of_devices_says_why() {
        let error = |text| serde_json::from_str::<DeviceList>(text).unwrap_err().to_string();
        assert!(error("[]").starts_with("a list of devices has at least one"), "{}", error("[]"));
        assert!(error(r#"["flex", "gpu"]"#).starts_with("there is no device `gpu`"));
        assert!(error(r#""gpu""#).starts_with("there is no device `gpu`"));
        assert!(error("1").contains("expected the name of a device, or a list of names"), "{}", error("1"));
    }
}
