//! Values that say where clients come from and go to.

use ipnet::IpNet;
use registry_auth::origin::Origin;

use super::value::{Kind, Value, quote};

/// An origin that may be left out, which an empty text says.
impl Value for Option<Origin> {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn allowed(&self) -> String {
        "an origin such as \"https://registry.example.com\", or \"\" for none".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        *self = match text {
            "" => None,
            text => match text.parse() {
                Ok(origin) => Some(origin),
                Err(_) => return false,
            },
        };
        true
    }

    fn show(&self) -> String {
        quote(&self.as_ref().map(Origin::to_string).unwrap_or_default())
    }
}

/// Networks; a lone address is a network of one.
impl Value for Vec<IpNet> {
    fn kind(&self) -> Kind {
        Kind::List
    }

    fn allowed(&self) -> String {
        "networks such as \"10.0.0.0/8\", or addresses".to_owned()
    }

    fn set(&mut self, text: &str) -> bool {
        let network = |text: &str| {
            text.parse()
                .ok()
                .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
        };
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        let Some(networks) = texts.map(network).collect() else {
            return false;
        };
        *self = networks;
        true
    }

    fn show(&self) -> String {
        let all: Vec<String> = self.iter().map(|one| quote(&one.to_string())).collect();
        format!("[{}]", all.join(", "))
    }
}
