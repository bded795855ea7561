//! A till that reads five orders, in Rust; the other examples here are the same
//! program, with the same output and the same calls of the Observe API.

use wasmtrace_guest::{count, debug, enter, error, exit, gauge, histogram, info, span, tag, tags, trace, warn};

#[derive(Default)]
struct Till {
    total: u32,
}

/// The quantity after the '='.
#[span]
#[inline(never)]
fn quantity(text: &str) -> Result<u32, &'static str> {
    let Some((_, number)) = text.split_once('=') else {
        error("an order without a quantity");
        return Err("no quantity");
    };
    let n = number.parse().map_err(|_| {
        warn("a quantity that is not a number");
        "not a number"
    })?;
    Ok(n)
}

impl Till {
    #[span(name = "order")]
    #[inline(never)]
    fn take(&mut self, text: &str) -> Result<u32, &'static str> {
        tag("text", text);
        let n = quantity(text)?;
        if n == 0 {
            info("nothing to sell");
            return Err("nothing");
        }
        self.sell(n);
        count("orders.sold", 1);
        Ok(n)
    }

    #[inline(never)]
    fn sell(&mut self, n: u32) {
        let _span = span("sell");
        self.total += n;
        histogram("order.quantity", n);
        trace("sold");
    }

    /// Opens a span that is still open when it returns.
    #[inline(never)]
    fn open_report(&self, orders: usize) {
        enter("report");
        tag("orders", orders);
    }

    #[inline(never)]
    fn close_report(&self) {
        gauge("till.total", self.total);
        exit();
    }
}

fn main() {
    let orders = ["bread=3", "milk", "cake=x", "tea=0", "egg=12"];
    let mut till = Till::default();

    let day = span("day");
    tags("app:till,version:1");
    let _day = day.tag("opens, at:", "09:30, UTC");
    debug("open");
    for text in orders {
        let result = till.take(text);
        let item = text.split('=').next().unwrap_or(text);
        match result {
            Ok(n) => println!("{item}: {n}"),
            Err(problem) => println!("{item}: {problem}"),
        }
    }
    till.open_report(orders.len());
    println!("total {} of {} orders", till.total, orders.len());
    till.close_report();
}
