//! Starting: on the same port again and again, and where somebody else has it.

use fanfare::node::{self, Settings};

use crate::support::{Client, DRIVERS, in_time, node, node_with, publish_all};

#[test]
fn twenty_times_on_the_same_port() {
    for driver in DRIVERS {
        let first = node(driver);
        let (listen, api) = (first.addresses().listen, first.addresses().api.unwrap());
        first.stop();
        for nth in 0..20 {
            let node = node_with(driver, |settings| {
                (settings.listen, settings.api) = (listen, Some(api));
            });
            assert_eq!((node.addresses().listen, node.addresses().api), (listen, Some(api)));
            let mut websocket = Client::websocket(listen, "/ws?channels=a");
            let mut stream = Client::get(listen, "/sse?channels=a");
            stream.head();
            publish_all(&node, [("a", nth.to_string())]);
            assert_eq!(websocket.text_frame(), nth.to_string());
            drop(websocket); // this one leaves; the other one is there when the node stops
            node.stop();
            assert!(!stream.end().0, "a stream ends, it is not cut off at the deadline");
        }
    }
}

#[test]
fn a_port_that_somebody_has_is_said_in_a_sentence() {
    for driver in DRIVERS {
        let owner = node(driver);
        let (listen, api) = (owner.addresses().listen, owner.addresses().api.unwrap());
        let any = Settings::on_loopback();
        for (settings, address) in [
            (Settings { driver, listen, ..any.clone() }, listen),
            (Settings { driver, api: Some(api), ..any.clone() }, api),
        ] {
            let start = in_time("it is refused", move || node::start(settings));
            let Err(error) = start else { panic!("{address} was shared") };
            assert_eq!(error.exit_code(), 69);
            let said = error.to_string();
            for word in [&*format!("cannot listen on {address}"), "in use", "ss -ltnp"] {
                assert!(said.contains(word), "{word:?} is missing in {said:?}");
            }
        }
        // The owner has lost nobody to the one that tried.
        for _ in 0..20 {
            Client::websocket(listen, "/ws?channels=a");
        }
        owner.stop();
    }
}
