// The server's own login page, used as an application does that has no form of its own.

import { Browser } from "happy-dom";

/** Fill in the form and press the button: what the page hands over, and what it shows. */
export const logInOnPage = async (url, user, password) => {
    const browser = new Browser({ settings: { enableJavaScriptEvaluation: true } });
    try {
        const page = browser.newPage();
        await page.goto(url);
        const { window, document } = page.mainFrame;
        const handedOver = [];
        window.matrixLogin = { onLogin: (answer) => handedOver.push(answer) };
        document.getElementById("user").value = user;
        document.getElementById("password").value = password;
        document.querySelector("button").click();
        await page.waitUntilComplete();
        return { handedOver, shown: document.querySelector("main").textContent };
    } finally {
        await browser.close();
    }
};
