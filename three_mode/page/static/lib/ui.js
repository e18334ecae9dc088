// What views are made of: elements by templates, state by hooks. Texts become text nodes, never markup.
import htm from "./htm.js";
import {Fragment, h, render} from "./preact.js";
export {useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState} from "./hooks.js";
export {Fragment, h, render};
export const html = htm.bind(h);
