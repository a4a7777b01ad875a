(function () {
  'use strict';
  // Everything here only makes the page quicker and more patient: each form and link works alone.
  // Kept to what browsers of 2018 know: WeChat's on old phones are of that time.
  const body = document.body;
  const home = body.dataset.home;
  const api = body.dataset.api;
  const timeout = Number(body.dataset.timeout);
  const notice = document.getElementById('notice');

  let turn = 0; // the newest thing asked of the service; answers to older ones are dropped
  let looking = 0; // the newest attempt to locate
  let button = null; // the one that was clicked last
  const told = {};

  const main = () => document.querySelector('main');
  const view = () => main().dataset.view;
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const within = (target, selector) => target && target.closest ? target.closest(selector) : null;

  function say(what) {
    notice.textContent = what ? body.dataset[what] : '';
    notice.hidden = !what;
    // Nothing may lie over the code.
    notice.className = view() === 'code' ? '' : 'sticky';
  }

  function step(name) {
    main().querySelectorAll('[data-step]').forEach(line => {
      line.hidden = line.dataset.step !== name;
    });
  }

  // Asking the service

  const json = data => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(data)
  });

  // One request. Rejected after 12 s, if the network fails, and if the service asks for patience.
  function once(url, options) {
    const asking = Object.assign({ credentials: 'same-origin' }, options);
    asking.headers = Object.assign({ 'X-Fragment': '1' }, asking.headers);
    return new Promise((answer, fail) => {
      setTimeout(() => fail({}), 12000);
      fetch(url, asking).then(response => {
        if (response.status >= 500 || response.status === 429) {
          fail({ after: Number(response.headers.get('Retry-After')) || 0 });
          return null;
        }
        return response.text().then(text => {
          answer({ url: response.url, status: response.status, text: text });
        });
      }).catch(() => fail({}));
    });
  }

  // Asks until there is an answer, or something newer is asked. `instead` may find, before another
  // try, that the last one did reach the service.
  function ask(url, options, instead) {
    const mine = ++turn;
    const slow = setTimeout(() => { if (mine === turn) say('loading'); }, 700);
    let tries = 0;
    const attempt = () => once(url, options).catch(why => {
      if (mine !== turn) return null;
      say('busy');
      tries += 1;
      const pause = Math.min(15000, 500 * Math.pow(2, tries)) * (0.75 + Math.random() / 2);
      return wait(Math.max((why.after || 0) * 1000, pause)).then(() => {
        if (mine !== turn) return null;
        return instead ? instead().then(found => found || attempt(), attempt) : attempt();
      });
    });
    return attempt().then(found => {
      clearTimeout(slow);
      if (mine !== turn) return null;
      say('');
      return found;
    });
  }

  const parse = text => new DOMParser().parseFromString(text, 'text/html');

  // Shows the page or the part of it that came. `fresh`: the visitor went there themselves.
  function show(answer, fresh) {
    const page = parse(answer.text);
    const next = page.querySelector('main');
    // The service knows this scan no more and has opened another.
    if (next && page.body.dataset.home && page.body.dataset.home !== home) {
      location.replace(page.body.dataset.home);
      return;
    }
    if (!next || answer.status >= 400 && next.dataset.view !== 'missing') {
      location.assign(home);
      return;
    }
    main().parentNode.replaceChild(next, main());
    scrollTo(0, 0);
    const heading = next.querySelector('h1');
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    if (answer.url && answer.url !== location.href) history.pushState(null, '', answer.url);
    ready(fresh);
  }

  function go(url, options, fresh, instead) {
    return ask(url, options, instead).then(answer => {
      if (answer) show(answer, fresh);
    });
  }

  // Where the visitor is

  function route(position) {
    step(position.source === 'ip' ? 'network' : 'routing');
    return ask(api + '/position', json(position)).then(answer => {
      if (!answer) return null;
      if (answer.status < 400) return go(home, null, false);
      if (position.source !== 'ip') return route({ source: 'ip' });
      return step('failed');
    });
  }

  function locate() {
    const mine = ++looking;
    const first = view() === 'locate';
    const geolocation = navigator.geolocation;
    let settled = false;

    function found(position) {
      // One that comes late still helps who was not shown a code meanwhile.
      if (mine !== looking || settled && view() === 'code') return;
      settled = true;
      route({
        lon: position.coords.longitude,
        lat: position.coords.latitude,
        accuracy_m: position.coords.accuracy,
        source: 'gps'
      });
    }

    function failed(denied) {
      if (mine !== looking || settled) return;
      settled = true;
      if (denied && !told.denied) {
        told.denied = true;
        once(api + '/events', json({ event: 'denied' })).catch(() => {});
      }
      if (first) route({ source: 'ip' });
      else step('refused');
    }

    // On an insecure origin the browser would call it a refusal, and nobody has refused anything.
    if (!geolocation || window.isSecureContext === false) {
      failed(false);
      return;
    }
    step('finding');
    // First as exact as can be; where that takes too long (indoors, no satellites), by Wi-Fi and
    // masts. A prompt that is left open stops the browser's clock, not ours.
    setTimeout(() => failed(false), timeout + 200);
    geolocation.getCurrentPosition(found, error => {
      if (error.code === 1) {
        failed(true);
        return;
      }
      geolocation.getCurrentPosition(found, again => failed(again.code === 1), {
        enableHighAccuracy: false, timeout: timeout * 0.4, maximumAge: 60000
      });
    }, { enableHighAccuracy: true, timeout: timeout * 0.6, maximumAge: 10000 });
  }

  // Locates by itself, once the sentence that says why could be seen.
  function begin() {
    const mine = ++looking;
    step('asking');
    const permissions = navigator.permissions;
    const known = permissions && permissions.query
      ? permissions.query({ name: 'geolocation' }).then(found => found.state, () => '')
      : Promise.resolve('');
    Promise.race([known, wait(200)])
      .then(state => state === 'granted' ? null : wait(300))
      .then(() => { if (mine === looking && view() === 'locate') locate(); });
  }

  // What becomes of the code

  // A system of the chain may have a page for who has joined: looked for a few times, quietly.
  function lookForNext() {
    const next = document.getElementById('next');
    if (!next || !next.hidden) return;
    [700, 1300, 2000, 4000, 8000].reduce((before, pause) => before.then(() => wait(pause))
      .then(() => document.getElementById('next') === next && next.hidden ? once(api) : null)
      .then(answer => {
        const url = answer && answer.status < 400 && JSON.parse(answer.text).next_url;
        if (!url) return;
        next.firstChild.href = url;
        next.hidden = false;
      }).catch(() => {}), Promise.resolve());
  }

  function pressed() {
    const code = main().dataset.code;
    if (told[code]) return;
    told[code] = true;
    const sending = Object.assign({ keepalive: true }, json({ event: 'pressed', code_id: code }));
    const attempt = tries => once(api + '/events', sending).then(lookForNext, () => {
      if (tries > 4) told[code] = false;
      else return wait(1000 * Math.pow(2, tries)).then(() => main().dataset.code === code && attempt(tries + 1));
    });
    attempt(0);
  }

  // A long press, watched and never hindered: the phone's own menu must come up. iOS ends it by
  // touchcancel, Android tells it by contextmenu.
  let press = null;

  function release() {
    if (press && Date.now() - press.at >= 500) pressed();
    if (press) clearTimeout(press.timer);
    press = null;
  }

  document.addEventListener('touchstart', event => {
    const touch = event.touches[0];
    if (event.touches.length > 1 || !within(event.target, '.code img')) {
      if (press) clearTimeout(press.timer);
      press = null;
      return;
    }
    press = { at: Date.now(), x: touch.clientX, y: touch.clientY, timer: setTimeout(pressed, 500) };
  }, { passive: true });
  document.addEventListener('touchmove', event => {
    const touch = event.touches[0];
    if (press && Math.abs(touch.clientX - press.x) + Math.abs(touch.clientY - press.y) > 20) {
      clearTimeout(press.timer);
      press = null;
    }
  }, { passive: true });
  document.addEventListener('touchend', release);
  document.addEventListener('touchcancel', release);
  document.addEventListener('contextmenu', event => {
    if (within(event.target, '.code img')) pressed();
  });

  // A picture that did not arrive is asked for again.
  function mend(image) {
    const tries = Number(image.dataset.tries || 0) + 1;
    image.dataset.tries = tries;
    say(tries > 8 ? '' : 'busy');
    if (tries > 8) return;
    wait(Math.min(15000, 500 * Math.pow(2, tries))).then(() => {
      image.addEventListener('load', () => say(''), { once: true });
      image.src = image.getAttribute('src');
    });
  }
  document.addEventListener('error', event => {
    if (within(event.target, '.code img')) mend(event.target);
  }, true);

  // Links and forms

  document.addEventListener('click', event => {
    button = within(event.target, 'button');
    const link = within(event.target, 'a[data-go]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    looking += 1;
    go(link.href, null, true);
  });

  document.addEventListener('submit', event => {
    const form = event.target;
    event.preventDefault();
    if (form.dataset.does === 'locate') {
      locate();
      return;
    }
    if (form.dataset.does === 'tell' && form.dataset.sent) return;
    form.dataset.sent = '1';
    looking += 1;
    const fields = new URLSearchParams();
    new FormData(form).forEach((value, name) => fields.append(name, value));
    if (button && button.form === form && button.name) fields.append(button.name, button.value);
    if (form.method === 'get') {
      go(form.action + '?' + fields, null, true);
      return;
    }
    const code = main().dataset.code;
    // A complaint that got through, although its answer did not, must not be made of the next code.
    const changed = () => once(home).then(answer => {
      const next = answer.status < 400 && parse(answer.text).querySelector('main');
      return next && next.dataset.code !== code ? answer : null;
    });
    go(form.action, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: fields.toString()
    }, true, form.dataset.does === 'tell' ? changed : null);
  });

  // Who comes back to the page from the chat: a code that serves no more is not shown on.
  document.addEventListener('visibilitychange', () => {
    const mine = turn;
    if (document.hidden || view() !== 'code' || main().querySelector('.done')) return;
    once(api).then(answer => {
      const code = answer.status < 400 && JSON.parse(answer.text).code;
      if (mine === turn && view() === 'code' && code && !code.serves) go(home, null, true);
    }).catch(() => {});
  });

  window.addEventListener('popstate', () => {
    looking += 1;
    go(location.href, null, true);
  });

  // A page that could not be given: again, when the network is there.
  function revive() {
    let tries = 0;
    try {
      tries = Number(sessionStorage.getItem('tries')) + 1;
      sessionStorage.setItem('tries', tries);
    } catch (error) { /* private mode keeps nothing */ }
    const attempt = () => wait(Math.min(15000, 1000 * Math.pow(1.5, tries)) * (0.75 + Math.random() / 2))
      .then(() => fetch('/healthz', { cache: 'no-store' }))
      .then(() => location.replace(document.getElementById('retry').href), attempt);
    attempt();
  }

  function ready(fresh) {
    main().querySelectorAll('time').forEach(time => {
      const at = new Date(time.dateTime);
      const two = number => (number < 10 ? '0' : '') + number;
      if (!isNaN(at)) time.textContent = two(at.getHours()) + ':' + two(at.getMinutes());
    });
    if (main().querySelector('.done')) lookForNext();
    const image = main().querySelector('.code img');
    if (image && image.complete && !image.naturalWidth) mend(image);
    if (view() === 'locate') {
      if (fresh) begin();
      else step('failed');
    }
    if (view() === 'unavailable') revive();
    else try { sessionStorage.removeItem('tries'); } catch (error) { /* as above */ }
  }

  // A reload must not be another scan.
  if (api && location.pathname.indexOf(home) !== 0) history.replaceState(null, '', home);
  const agent = navigator.userAgent;
  document.documentElement.className = 'js' + (/MicroMessenger/i.test(agent) ? ''
    : /Mobi|Android|iPhone|iPad/i.test(agent) ? ' not-wechat' : ' at-desk');
  ready(true);
})();
